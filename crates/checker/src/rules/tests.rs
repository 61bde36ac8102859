//! Every kind of wrong, planted in a run in which nothing is.

use parlance_protocol::{MessageId, Position};

use super::check;
use crate::{
    recording::{
        Change, Conversation, Event, Fault, Layer, Member, Probe, Promise, Reading, Recording, Run,
        Sample, Seen, Told,
    },
    verdict::Invariant::{self, *},
};

/// A client without times: an event per millisecond.
struct Client {
    user: String,
    layer: Layer,
    events: Vec<Event>,
}

struct Room {
    history: Vec<Told>,
    members: Vec<Client>,
}

impl Room {
    /// With an offer of all that anybody was told, before everything.
    fn into_conversation(self) -> Conversation {
        let events = self.members.iter().flat_map(|member| &member.events);
        let told = events.filter_map(Event::message).chain(&self.history);
        let names = told.map(|told| (told.sender.clone(), told.content.clone()));
        let events = self.members.iter().flat_map(|member| &member.events);
        let changed = events.filter_map(Event::change);
        let changed = changed.map(|change| (change.sender.clone(), change.name.clone()));
        let offers: Vec<(String, String)> = names.chain(changed).collect();
        let member = |client: Client| {
            let own = offers.iter().filter(|(sender, _)| *sender == client.user);
            let offered = own.map(|(_, name)| Event::Offered { name: name.clone() });
            let events = (client.events.into_iter().zip(1..)).map(|(event, ms)| Seen {
                at_us: ms * 1000,
                event,
            });
            let offered = offered.map(|event| Seen { at_us: 0, event });
            Member {
                user: client.user.clone(),
                layer: client.layer,
                events: offered.chain(events).collect(),
            }
        };
        Conversation {
            name: "room".to_owned(),
            history: self.history,
            readings: Vec::new(),
            members: self.members.into_iter().map(member).collect(),
        }
    }
}

fn place(id: u64) -> Position {
    Position::of(MessageId::new(id).unwrap())
}

fn told(id: u64, content: &str) -> Told {
    let (sender, _) = content.split_once('-').unwrap();
    Told {
        position: place(id),
        sender: sender.to_owned(),
        content: content.to_owned(),
        shows: content.to_owned(),
    }
}

fn message(id: u64, content: &str) -> Event {
    Event::Message(told(id, content))
}

/// Ann sends, bob listens; both see 1 to 4.
fn good() -> Room {
    let all = ["ann-1", "bob-1", "ann-2", "ann-3"];
    let numbered = || (1..).zip(all);
    let member = |user: &str, layer| Client {
        user: user.to_owned(),
        layer,
        events: [Event::Connected {
            since: Some(place(0)),
        }]
        .into_iter()
        .chain(numbered().map(|(id, content)| message(id, content)))
        .collect(),
    };
    Room {
        history: numbered().map(|(id, content)| told(id, content)).collect(),
        members: vec![member("ann", Layer::Base), member("bob", Layer::Extended)],
    }
}

fn broken(room: Room, promise: Promise) -> Vec<Invariant> {
    let run = Run {
        promise,
        timed: false,
        ended_us: 0,
    };
    broken_in(Recording {
        run,
        conversations: vec![room.into_conversation()],
        ..Recording::default()
    })
}

fn broken_in(recording: Recording) -> Vec<Invariant> {
    let mut broken: Vec<Invariant> = check(&recording)
        .into_iter()
        .map(|violation| violation.invariant)
        .collect();
    broken.sort_unstable();
    broken.dedup();
    broken
}

#[track_caller]
fn finds(change: impl FnOnce(&mut Room), expected: &[Invariant]) {
    let mut conversation = good();
    change(&mut conversation);
    assert_eq!(broken(conversation, Promise::NothingLost), expected);
}

#[track_caller]
fn finds_after_a_loss(change: impl FnOnce(&mut Room), expected: &[Invariant]) {
    let mut conversation = lossy();
    change(&mut conversation);
    assert_eq!(broken(conversation, Promise::TailMayBeLost), expected);
}

/// The log loses 3 and 4; both come back in epoch 1.
fn lossy() -> Room {
    let mut conversation = good();
    let back = [told(10_000_000_001, "ann-2"), told(10_000_000_002, "ann-3")];
    conversation.history.truncate(2);
    conversation.history.extend(back.clone());
    conversation.members[1].events.push(Event::Resync {
        lost_after: place(2),
    });
    for member in &mut conversation.members {
        member.events.extend(back.clone().map(Event::Message));
    }
    conversation
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    finds(|_| {}, &[]);
    finds_after_a_loss(|_| {}, &[]);
}

#[test]
fn a_lost_acknowledgement_is_found() {
    let lose = |room: &mut Room| drop(room.history.pop());
    finds(lose, &[NoLoss, HistoryIsLive]);
    finds_after_a_loss(lose, &[NoLoss, HistoryIsLive]);
}

#[test]
fn a_lost_acknowledgement_that_only_an_answer_told_is_found() {
    finds(
        |room| {
            let answer = Event::Answer(told(9, "ann-4"));
            room.members[0].events.push(answer);
        },
        &[NoLoss, HistoryIsLive],
    );
}

#[test]
fn what_was_said_to_be_stored_and_is_not_there_is_found() {
    let stored = |id, name: &str| Event::Stored {
        name: name.to_owned(),
        position: place(id),
    };
    finds(|room| room.members[1].events.push(stored(2, "bob-1")), &[]);
    finds(
        |room| room.members[0].events.push(stored(5, "ann-4")),
        &[StoredIsTrue],
    );
    finds_after_a_loss(
        |room| room.members[0].events.push(stored(4, "ann-3")),
        &[StoredIsTrue],
    );
}

#[test]
fn a_message_that_stands_twice_is_found() {
    let double = |room: &mut Room| {
        room.history.push(told(10_000_000_009, "ann-3"));
    };
    finds(double, &[ExactlyOnce, StableAcknowledgement]);
    finds_after_a_loss(double, &[ExactlyOnce]);
}

#[test]
fn an_acknowledgement_under_another_id_is_found_unless_the_first_was_lost() {
    let again = Event::Answer(told(9, "ann-3"));
    finds(
        |room| room.members[0].events.push(again),
        &[StableAcknowledgement, HistoryIsLive],
    );
    finds(
        |room| room.history[3] = told(9, "ann-3"),
        &[StableAcknowledgement, HistoryIsLive],
    );
}

#[test]
fn a_swap_is_found() {
    finds(|room| room.members[1].events.swap(2, 3), &[NoReorder]);
    finds(|room| room.history.swap(1, 2), &[OneOrder]);
    finds_after_a_loss(|room| room.members[0].events.swap(5, 6), &[NoReorder]);
}

#[test]
fn a_message_that_comes_twice_is_found() {
    finds(
        |room| {
            let again = room.members[1].events[4].clone();
            room.members[1].events.push(again);
        },
        &[NoReorder],
    );
}

#[test]
fn a_hole_is_found_unless_it_was_announced() {
    let miss = |room: &mut Room| drop(room.members[1].events.remove(2));
    finds(miss, &[NoGap]);
    let tell = |room: &mut Room| {
        let (from, to) = (place(2), place(2));
        room.members[1].events.insert(2, Event::Gap { from, to });
    };
    finds(
        |room| {
            miss(room);
            tell(room);
        },
        &[],
    );
}

#[test]
fn a_hole_over_a_reconnect_is_found() {
    finds(
        |room| {
            let events = &mut room.members[1].events;
            events[2] = Event::Connected {
                since: Some(place(1)),
            };
        },
        &[ExactResume],
    );
}

#[test]
fn a_hole_at_the_beginning_is_found() {
    finds(
        |room| drop(room.members[1].events.remove(1)),
        &[ExactResume],
    );
}

#[test]
fn a_hole_after_a_resync_is_found() {
    finds_after_a_loss(|room| drop(room.members[1].events.remove(6)), &[NoGap]);
    finds_after_a_loss(|room| drop(room.members[0].events.remove(5)), &[NoGap]);
}

#[test]
fn what_survived_a_resync_must_be_shown_still() {
    let too_deep = Event::Resync {
        lost_after: place(1),
    };
    finds_after_a_loss(|room| room.members[1].events[5] = too_deep, &[NoGap]);
}

#[test]
fn a_loss_that_an_extended_client_was_not_told_of_is_found() {
    finds_after_a_loss(
        |room| drop(room.members[1].events.remove(5)),
        &[HistoryIsLive],
    );
}

#[test]
fn a_reused_id_is_found() {
    let other = message(4, "bob-9");
    finds(
        |room| room.members[1].events[4] = other.clone(),
        &[NoLoss, OneOrder, HistoryIsLive],
    );
    finds_after_a_loss(
        |room| {
            room.history[2] = told(3, "ann-3");
            room.history[3] = told(4, "ann-2");
        },
        &[OneOrder, NoGap, HistoryIsLive],
    );
}

#[test]
fn a_client_that_was_cut_off_owes_nothing_of_what_was_between() {
    finds_after_a_loss(
        |room| {
            let events = &mut room.members[0].events;
            events.remove(5);
            events.insert(5, Event::Cut);
        },
        &[],
    );
}

/// Ann edits her first message, and everybody sees it.
fn edited() -> Room {
    let mut conversation = good();
    conversation.history[0].shows = "ann-1~1".to_owned();
    for member in &mut conversation.members {
        member.events.push(Event::Changed(edit(1, "ann-1~1")));
    }
    conversation
}

fn edit(k: u32, name: &str) -> Change {
    Change {
        position: Position { k, ..place(4) },
        message: place(1),
        sender: "ann".to_owned(),
        name: name.to_owned(),
        shows: name.to_owned(),
    }
}

#[track_caller]
fn finds_after_an_edit(change: impl FnOnce(&mut Room), expected: &[Invariant]) {
    let mut conversation = edited();
    change(&mut conversation);
    assert_eq!(broken(conversation, Promise::NothingLost), expected);
}

#[test]
fn a_lost_edit_is_found() {
    finds_after_an_edit(|_| {}, &[]);
    finds_after_an_edit(
        |room| room.history[0].shows = "ann-1".to_owned(),
        &[NoLoss, HistoryIsLive],
    );
}

#[test]
fn a_member_who_missed_an_edit_is_found() {
    finds_after_an_edit(|room| drop(room.members[1].events.pop()), &[HistoryIsLive]);
}

#[test]
fn an_edit_that_comes_too_late_is_found() {
    finds_after_an_edit(|room| room.members[1].events.swap(4, 5), &[NoReorder]);
}

#[test]
fn an_edit_that_was_made_twice_is_found() {
    let again = Event::ChangeAnswered(edit(2, "ann-1~1"));
    finds_after_an_edit(
        |room| room.members[0].events.push(again),
        &[StableAcknowledgement],
    );
}

#[test]
fn what_follows_an_edit_is_as_good() {
    let deleted = Change {
        shows: String::new(),
        ..edit(2, "ann-1~2")
    };
    finds_after_an_edit(
        |room| {
            room.history[0].shows = String::new();
            for member in &mut room.members {
                member.events.push(Event::Changed(deleted.clone()));
            }
        },
        &[],
    );
}

#[test]
fn an_edit_behind_a_deletion_changes_nothing() {
    let deleted = Change {
        shows: String::new(),
        ..edit(2, "ann-1~2")
    };
    finds_after_an_edit(
        |room| {
            room.history[0].shows = String::new();
            for member in &mut room.members {
                member.events.push(Event::Changed(deleted.clone()));
                member.events.push(Event::Changed(edit(3, "ann-1~3")));
            }
        },
        &[],
    );
}

#[test]
fn words_without_a_reason_are_found() {
    let lost_after = place(4);
    for event in [
        Event::Resync { lost_after },
        Event::Cut,
        Event::Failed { position: place(3) },
        Event::Refused {
            name: None,
            code: "invalid_content".to_owned(),
        },
        Event::Closed { code: Some(4400) },
    ] {
        finds(|room| room.members[1].events.push(event), &[HonestRefusal]);
    }
    let leaving = Event::Closed { code: Some(1012) };
    finds(|room| room.members[1].events.push(leaving), &[]);
}

// --- with times ---

const SECOND_US: u64 = 1_000_000;

fn at(second: u64, event: Event) -> Seen {
    Seen {
        at_us: second * SECOND_US,
        event,
    }
}

fn offered(name: &str) -> Event {
    let name = name.to_owned();
    Event::Offered { name }
}

fn connected() -> Event {
    Event::Connected { since: None }
}

/// Ann and bob are there from the first second to the last, the hundredth, and say nothing of note.
fn timed(ann: Vec<Seen>, bob: Vec<Seen>) -> Recording {
    let whole = |user: &str, other: &str, mut events: Vec<Seen>| {
        let (user, other) = (user.to_owned(), other.to_owned());
        let is_online = true;
        events.insert(0, at(1, connected()));
        let shown = Event::Presence {
            user: other,
            is_online,
        };
        events.insert(1, at(1, shown));

        let layer = Layer::Extended;
        Member {
            user,
            layer,
            events,
        }
    };
    let members = vec![whole("ann", "bob", ann), whole("bob", "ann", bob)];
    let told = members.iter().flat_map(|member| &member.events);
    let mut history: Vec<Told> = told
        .filter_map(|seen| seen.event.message().cloned())
        .collect();
    history.sort_by_key(|told| told.position);
    history.dedup();
    let name = "room".to_owned();
    let readings = Vec::new();
    Recording {
        run: Run {
            promise: Promise::NothingLost,
            timed: true,
            ended_us: 100 * SECOND_US,
        },
        conversations: vec![Conversation {
            name,
            history,
            readings,
            members,
        }],
        ..Recording::default()
    }
}

#[track_caller]
fn finds_in(recording: Recording, expected: &[Invariant]) {
    assert_eq!(broken_in(recording), expected);
}

#[test]
fn a_quiet_run_is_right() {
    finds_in(timed(vec![], vec![]), &[]);
}

#[test]
fn what_was_never_sent_is_found() {
    let heard = at(9, message(1, "ann-1"));
    finds_in(timed(vec![], vec![heard]), &[NoInvention]);
}

#[test]
fn a_send_that_overtakes_an_acknowledgement_is_found() {
    let ann = |place| vec![at(2, offered("ann-1")), at(3, message(place, "ann-1"))];
    let bob = |place| vec![at(4, offered("bob-1")), at(5, message(place, "bob-1"))];
    finds_in(timed(ann(1), bob(2)), &[]);
    finds_in(timed(ann(2), bob(1)), &[RealTimeOrder]);
}

#[test]
fn a_send_that_overtakes_another_of_its_connection_is_found() {
    let talk = |first, second, between: Option<Event>| {
        let offers = [at(2, offered("ann-1")), at(2, offered("ann-2"))];
        let told = [
            at(4, message(first, "ann-1")),
            at(4, message(second, "ann-2")),
        ];
        let mut told = told.to_vec();
        told.sort_by_key(|seen| seen.event.message().map(|told| told.position));
        let between = between.map(|event| at(3, event));
        let ann = offers.into_iter().chain(between).chain(told).collect();
        timed(ann, vec![])
    };
    finds_in(talk(1, 2, None), &[]);
    finds_in(talk(2, 1, None), &[SessionOrder]);
    let unknown = Event::PutOff {
        name: Some("ann-1".to_owned()),
        code: "unavailable".to_owned(),
    };
    finds_in(talk(2, 1, Some(unknown)), &[]);
}

#[test]
fn a_page_without_what_was_told_before_is_found() {
    let page = |ids: &[u64], asked| Event::Paged {
        asked_us: asked * SECOND_US,
        ids: ids.iter().map(|id| place(*id)).collect(),
    };
    let talk = |page| {
        let ann = [
            at(2, offered("ann-1")),
            at(3, message(1, "ann-1")),
            at(4, offered("ann-2")),
            at(5, message(2, "ann-2")),
        ];
        timed(ann.to_vec(), vec![at(9, page)])
    };
    finds_in(talk(page(&[2, 1], 8)), &[]);
    finds_in(talk(page(&[1], 4)), &[]);
    finds_in(talk(page(&[1], 8)), &[ReadYourAcknowledgements]);
    finds_in(talk(page(&[2], 8)), &[]);
    finds_in(talk(page(&[], 8)), &[ReadYourAcknowledgements]);
}

#[test]
fn a_reading_that_differs_is_found() {
    for (by, told) in [
        ("short", vec![]),
        ("other", vec![told(2, "ann-1")]),
        ("right", vec![told(1, "ann-1")]),
    ] {
        let sent = vec![at(2, offered("ann-1")), at(3, message(1, "ann-1"))];
        let mut recording = timed(sent, vec![]);
        let by = by.to_owned();
        let expected: &[Invariant] = if by == "right" { &[] } else { &[HistoryIsLive] };
        recording.conversations[0]
            .readings
            .push(Reading { by, told });
        finds_in(recording, expected);
    }
}

fn cursor(id: u64) -> Event {
    Event::Cursor {
        user: "ann".to_owned(),
        read: Some(place(id)),
        delivered: None,
    }
}

/// Bob says two things, and is told what of it ann has read.
fn receipts(bob: &[Event]) -> Recording {
    let reads = Event::Reads { up_to: place(2) };
    let told = [at(3, message(1, "bob-1")), at(3, message(2, "bob-2"))];
    let ann = told.clone().into_iter().chain([at(4, reads)]).collect();
    let offers = [at(2, offered("bob-1")), at(2, offered("bob-2"))];
    let bob = bob.iter().map(|event| at(5, event.clone()));
    let bob = offers.into_iter().chain(told).chain(bob).collect();
    timed(ann, bob)
}

#[test]
fn receipts_that_fall_exceed_or_never_come_are_found() {
    finds_in(receipts(&[cursor(1), cursor(2)]), &[]);
    finds_in(receipts(&[cursor(2), cursor(1)]), &[ReceiptsRise]);
    finds_in(receipts(&[cursor(3)]), &[ReceiptsRise]);
    finds_in(receipts(&[cursor(1)]), &[ReceiptsRise]);
    let listed = |id| Event::ReadBy {
        user: "ann".to_owned(),
        up_to: place(id),
    };
    finds_in(receipts(&[cursor(2), listed(1)]), &[]);
    finds_in(receipts(&[listed(2), listed(1)]), &[ReceiptsRise]);
    finds_in(receipts(&[listed(3)]), &[ReceiptsRise]);
    let short = Event::Cursor {
        user: "ann".to_owned(),
        read: Some(place(2)),
        delivered: Some(place(1)),
    };
    finds_in(receipts(&[cursor(2), short]), &[ReceiptsRise]);
}

#[test]
fn a_status_that_falls_is_found() {
    let status = |id, is_read| Event::Status {
        message: place(id),
        is_read,
    };
    let both = |first, then| receipts(&[cursor(2), first, then]);
    finds_in(both(status(1, false), status(1, true)), &[]);
    finds_in(both(status(1, true), status(1, false)), &[ReceiptsRise]);
}

fn presence(is_online: bool) -> Event {
    Event::Presence {
        user: "ann".to_owned(),
        is_online,
    }
}

#[test]
fn presence_that_is_wrong_for_long_is_found() {
    let gone = || vec![at(30, Event::Closed { code: None })];
    finds_in(timed(gone(), vec![at(45, presence(false))]), &[]);
    finds_in(timed(gone(), vec![]), &[PresenceIsTrue]);
    let back = |second| {
        timed(
            vec![],
            vec![at(30, presence(false)), at(second, presence(true))],
        )
    };
    finds_in(back(35), &[]);
    finds_in(back(70), &[PresenceIsTrue]);
    let mut excused = back(70);
    excused.faults.push(Fault {
        name: "bus lost".to_owned(),
        begun_us: 31 * SECOND_US,
        ended_us: 60 * SECOND_US,
    });
    finds_in(excused, &[]);
}

#[test]
fn typing_that_sticks_is_found() {
    let typing = |second, is_typing| {
        let user = "ann".to_owned();
        at(second, Event::Typing { user, is_typing })
    };
    let ann = || vec![at(10, Event::Types), at(14, Event::Types)];
    finds_in(timed(ann(), vec![typing(10, true), typing(20, false)]), &[]);
    finds_in(
        timed(ann(), vec![typing(10, true), typing(30, false)]),
        &[TypingEnds],
    );
    finds_in(timed(ann(), vec![typing(10, true)]), &[TypingEnds]);
}

#[test]
fn whoever_hears_beyond_the_token_is_found() {
    let until_us = 10 * SECOND_US;
    let heard = |second| {
        let ann = vec![at(1, offered("ann-1")), at(2, message(1, "ann-1"))];
        timed(
            ann,
            vec![
                at(1, Event::Granted { until_us }),
                at(second, message(1, "ann-1")),
            ],
        )
    };
    finds_in(heard(41), &[]);
    finds_in(heard(43), &[Access]);
    let early = Event::Closed { code: Some(4003) };
    let bob = vec![at(1, Event::Granted { until_us }), at(5, early)];
    let found = broken_in(timed(vec![], bob));
    assert!(found.contains(&Access), "{found:?}");
}

#[test]
fn what_takes_too_long_when_all_is_well_is_found() {
    let probe = |took_us| {
        let mut recording = timed(vec![], vec![]);
        recording.probes.push(Probe {
            what: "a new send".to_owned(),
            began_us: 0,
            took_us,
            within_us: 5,
        });
        recording
    };
    finds_in(probe(5), &[]);
    finds_in(probe(6), &[Liveness]);
}

#[test]
fn silence_is_found() {
    let silent = vec![at(2, offered("ann-1"))];
    finds_in(timed(silent.clone(), vec![]), &[HonestRefusal]);
    let mut asked_again = silent.clone();
    asked_again.extend((1..10).map(|turn| at(2 + turn * 10, offered("ann-1"))));
    finds_in(timed(asked_again, vec![]), &[HonestRefusal]);
    let mut excused = timed(silent, vec![]);
    excused.faults.push(Fault {
        name: "gateway stopped".to_owned(),
        begun_us: 3 * SECOND_US,
        ended_us: 95 * SECOND_US,
    });
    finds_in(excused, &[]);
}

#[test]
fn a_refusal_of_what_history_has_is_found() {
    finds(
        |room| {
            room.members[0].events.push(Event::Refused {
                name: Some("ann-1".to_owned()),
                code: "internal".to_owned(),
            });
        },
        &[HonestRefusal],
    );
}

#[test]
fn growth_is_found() {
    let sample = |at_us, rss_bytes, descriptors| Sample {
        process: "gateway 1".to_owned(),
        at_us,
        rss_bytes,
        descriptors,
    };
    for (last, expected) in [
        (sample(9, 130 << 20, 110), &[][..]),
        (sample(9, 160 << 20, 100), &[Bounded]),
        (sample(9, 100 << 20, 140), &[Bounded]),
    ] {
        let mut recording = timed(vec![], vec![]);
        recording.samples = vec![sample(1, 100 << 20, 100), last];
        finds_in(recording, expected);
    }
}

#[test]
fn a_recording_is_read_as_it_was_written() {
    let mut recording = receipts(&[cursor(2)]);
    recording.faults.push(Fault {
        name: "some".to_owned(),
        begun_us: 1,
        ended_us: 2,
    });
    recording.conversations[0].readings.push(Reading {
        by: "store".to_owned(),
        told: vec![told(1, "ann-1")],
    });
    let mut written = Vec::new();
    crate::file::write(&recording, &mut written).unwrap();
    let read = crate::file::read(&*written).unwrap();
    assert_eq!(format!("{read:?}"), format!("{recording:?}"));
}

#[test]
fn a_file_that_is_none_is_refused_with_its_line() {
    for (text, why) in [
        ("", "line 1 is out of place: the file is empty"),
        ("{}\n", "line 1 is no line"),
        (
            "{\"saw\":{\"at_us\":1,\"event\":\"cut\"}}\n",
            "line 1 is out of place",
        ),
        (
            "{\"run\":{\"version\":2,\"run\":{\"promise\":\"nothing_lost\",\"timed\":true,\"ended_us\":9}}}\n",
            "version 2",
        ),
        (
            "{\"run\":{\"version\":1,\"run\":{\"promise\":\"nothing_lost\",\"timed\":true,\"ended_us\":9}}}\n\
             {\"client\":{\"user\":\"ann\",\"layer\":\"base\"}}\n",
            "line 2 is out of place",
        ),
    ] {
        let error = crate::file::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{text:?}: {error}");
    }
}
