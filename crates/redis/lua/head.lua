-- One consistent reading of a conversation's end.
--
-- KEYS  1 epoch · 2 meta
-- ARGV  1 run
-- Gives "E": open the epoch first · "B<epoch> <now, ms>": set the mark first · "M" and the packed meta.
-- Atomic because epoch, head, breaks and stored have to belong together. Writes nothing.
local meta, need = ready(ARGV[1])
if not meta then return need end
return 'M' .. meta
