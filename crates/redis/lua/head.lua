-- One consistent reading of a conversation's end.
--
-- KEYS  1 epoch · 2 meta
-- ARGV  1 run
-- Gives "E": open the epoch first · "B<epoch> <now, ms>": set the mark first · "M" and the packed meta.
-- Atomic because epoch, head, breaks and stored have to belong together. Writes nothing.
local epoch = epoch_of(KEYS[1], ARGV[1])
if not epoch then return 'E' end
local meta = call('GET', KEYS[2])
if not meta then return needs_mark(epoch) end
local _, at_epoch = struct.unpack('>BI4', meta)
if at_epoch ~= epoch then return needs_mark(epoch) end
return 'M' .. meta
