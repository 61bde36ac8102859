//! The client against a scripted server: every event by hand, no socket, no clock.

use serde_json::{Value, json};

use super::{
    link::Moment,
    state::{Effect, Input, State},
    text,
};

struct Script {
    state: State,
    now_ms: u64,
    effects: Vec<Effect>,
}

impl Script {
    fn new() -> Self {
        let state = State::new("room", "me", "run".to_owned(), true);
        let mut script = Self {
            state,
            now_ms: 0,
            effects: Vec::new(),
        };
        script.input(Input::Tick);
        assert_eq!(script.take(), [Effect::Connect { since: None }]);
        script
    }

    /// Connected, greeted, with an empty page of history.
    fn entered() -> Self {
        let mut script = Self::new();
        script.open();
        script.hello(0, true);
        script.page(&[]);
        script.frame(json!({"type": "live", "position": "0"}));
        script.take();
        script
    }

    fn input(&mut self, input: Input) {
        let moment = Moment {
            now_ms: self.now_ms,
            random: 0,
        };
        self.state.handle(input, moment);
        while let Some(effect) = self.state.next_effect() {
            self.effects.push(effect);
        }
    }

    fn open(&mut self) {
        self.input(Input::Opened);
    }

    fn close(&mut self, code: u16) {
        let reason = String::new();
        self.input(Input::Closed { code, reason });
    }

    fn enter(&mut self, line: &str) {
        self.input(Input::Entered(line.to_owned()));
    }

    fn frame(&mut self, frame: Value) {
        self.input(Input::Frame(frame.to_string()));
    }

    fn after_ms(&mut self, ms: u64) {
        self.now_ms += ms;
        self.input(Input::Tick);
    }

    fn hello(&mut self, epoch: u32, durable: bool) {
        let limits = json!({"frame_bytes": 65536, "content_bytes": 16384, "local_id_bytes": 128,
            "read_ids": 500, "page": 100, "actions_per_second": 20, "actions_burst": 40,
            "resume_events": 5000});
        self.frame(
            json!({"type": "hello", "conversation_id": "room", "user_id": "me",
            "connection_id": "c", "epoch": epoch, "head_id": "0", "stored_id": "0",
            "read_id": "0", "unread": 0, "resumed": true, "durable": durable,
            "heartbeat_ms": 25000, "limits": limits}),
        );
    }

    /// A page of history with these rows: (id, sender, content), newest first.
    fn page(&mut self, rows: &[(&str, &str, &str)]) {
        let row = |(id, sender, content): &(&str, &str, &str)| {
            json!({"id": id, "sender_id": sender, "content": content,
                "sent_at": "2026-01-01T10:00:00.000Z", "is_edited": false, "is_deleted": false,
                "status": "sent", "position": id})
        };
        let rows: Vec<Value> = rows.iter().map(row).collect();
        self.frame(
            json!({"type": "messages_fetched", "conversation_id": "room",
            "messages": rows, "has_more": false}),
        );
    }

    fn message(&mut self, id: &str, sender: &str, content: &str, local_id: Option<&str>) {
        let mut message = json!({"id": id, "sender_id": sender, "content": content,
            "timestamp": "2026-01-01T10:00:00.000Z", "status": "sent"});
        if let Some(local_id) = local_id {
            message["local_id"] = local_id.into();
        }
        self.frame(json!({"type": "chat_message", "message": message, "position": id}));
    }

    fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The actions sent since the last look.
    fn sent(&mut self) -> Vec<Value> {
        let frame = |effect| match effect {
            Effect::Send(frame) => Some(frame),
            Effect::Connect { .. }
            | Effect::Drop
            | Effect::Authenticate
            | Effect::Print(_)
            | Effect::Quit(_) => None,
        };
        self.take().into_iter().filter_map(frame).collect()
    }

    /// The messages and notices on the screen.
    fn shown(&self) -> Vec<String> {
        self.state.lines().map(|line| text::plain(&line)).collect()
    }

    fn shown_messages(&self) -> Vec<String> {
        let shown = self.shown().into_iter();
        shown.filter(|line| !line.starts_with('*')).collect()
    }
}

fn send_action(content: &str, local_id: &str) -> Value {
    json!({"action": "send_message", "content": content, "local_id": local_id})
}

fn retried(content: &str, local_id: &str) -> Value {
    json!({"action": "send_message", "content": content, "local_id": local_id, "retry": true})
}

#[test]
fn history_comes_first_and_what_came_live_meanwhile_behind_it() {
    let mut script = Script::new();
    script.open();
    assert_eq!(
        script.sent(),
        [json!({"action": "fetch_messages", "limit": 20})]
    );
    script.hello(0, true);
    script.message("3", "bob", "three", None);
    script.page(&[("3", "bob", "three"), ("2", "me", "two")]);
    script.message("4", "bob", "four", None);
    assert_eq!(
        script.shown_messages(),
        [
            "#2 10:00 you: two ✓",
            "#3 10:00 bob: three",
            "#4 10:00 bob: four"
        ]
    );
}

#[test]
fn an_own_message_is_shown_at_once_and_ticked_as_it_gets_on() {
    let mut script = Script::entered();
    script.enter("hello");
    assert_eq!(script.sent(), [send_action("hello", "run-1")]);
    assert_eq!(script.shown_messages(), ["you: hello …"]);
    script.message("1", "me", "hello", Some("run-1"));
    assert_eq!(script.shown_messages(), ["#1 10:00 you: hello ✓"]);
    script.frame(
        json!({"type": "message.status", "message_id": "1", "status": "delivered",
        "timestamp": "2026-01-01T10:00:00.000Z"}),
    );
    assert_eq!(script.shown_messages(), ["#1 10:00 you: hello ✓✓"]);
    script.frame(json!({"type": "receipts", "read": {"me": "9", "bob": "1"}, "delivered": {}}));
    assert_eq!(script.shown_messages(), ["#1 10:00 you: hello ✓✓ read"]);
}

#[test]
fn what_was_typed_while_away_is_sent_once_in_order_and_the_unknown_as_a_retry() {
    let mut script = Script::entered();
    script.enter("one");
    assert_eq!(script.sent(), [send_action("one", "run-1")]);
    script.close(1006);
    script.enter("two");
    script.enter("three");
    assert_eq!(script.sent(), [] as [Value; 0]);
    script.after_ms(500);
    let since = parlance_protocol::Position::parse("0");
    assert_eq!(script.take(), [Effect::Connect { since }]);
    script.open();
    assert_eq!(script.sent(), [retried("one", "run-1")]);
    script.hello(0, true);
    script.message("1", "me", "one", Some("run-1"));
    assert_eq!(script.sent(), [send_action("two", "run-2")]);
    script.message("2", "me", "two", Some("run-2"));
    assert_eq!(script.sent(), [send_action("three", "run-3")]);
    script.message("3", "me", "three", Some("run-3"));
    assert_eq!(script.sent(), [] as [Value; 0]);
    assert_eq!(
        script.shown_messages(),
        [
            "#1 10:00 you: one ✓",
            "#2 10:00 you: two ✓",
            "#3 10:00 you: three ✓"
        ]
    );
}

#[test]
fn a_reconnect_resumes_after_the_last_event_and_shows_nothing_twice() {
    let mut script = Script::entered();
    script.message("7", "bob", "seven", None);
    script.frame(
        json!({"type": "message.edited", "message_id": "7", "content": "SEVEN",
        "edited_by": "bob", "timestamp": "2026-01-01T10:00:00.000Z", "position": "7-1"}),
    );
    script.close(1011);
    script.take();
    script.after_ms(500);
    let since = parlance_protocol::Position::parse("7-1");
    assert_eq!(script.take(), [Effect::Connect { since }]);
    script.open();
    script.hello(0, true);
    script.message("7", "bob", "SEVEN", None);
    script.message("8", "bob", "eight", None);
    let asked = script.sent();
    let fetches = asked
        .iter()
        .filter(|action| action["action"] == "fetch_messages");
    assert_eq!(
        fetches.count(),
        0,
        "a server that replays is not asked for history"
    );
    assert_eq!(script.shown_messages().len(), 2);
}

#[test]
fn a_server_without_hello_is_asked_for_what_was_missed() {
    let mut script = Script::new();
    script.open();
    script.frame(json!({"type": "heartbeat"}));
    script.page(&[("5", "bob", "five")]);
    script.close(1006);
    script.take();
    script.after_ms(500);
    script.open();
    script.take();
    script.after_ms(1_000);
    assert_eq!(
        script.sent(),
        [json!({"action": "fetch_messages", "limit": 100, "after_id": "5"})]
    );
    script.message("7", "bob", "seven", None);
    script.page(&[("7", "bob", "seven"), ("6", "bob", "six")]);
    let shown = script.shown_messages();
    let contents: Vec<&str> = shown
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(contents, ["five", "six", "seven"]);
}

#[test]
fn frames_without_the_additions_of_parlance_are_understood() {
    let mut script = Script::new();
    script.open();
    script.frame(
        json!({"type": "messages_fetched", "conversation_id": "room", "messages": [
        {"id": "1", "sender_id": "bob", "content": "old", "sent_at": "2026-01-01T10:00:00.000Z",
         "is_edited": false, "is_deleted": false, "status": "sent"}], "has_more": false}),
    );
    script.frame(
        json!({"type": "chat_message", "message": {"id": "2", "sender_id": "bob",
        "content": "new", "timestamp": "2026-01-01T10:00:00.000Z", "status": "sent"}}),
    );
    script.frame(json!({"type": "from the future", "x": 1}));
    assert_eq!(
        script.shown_messages(),
        ["#1 10:00 bob: old", "#2 10:00 bob: new"]
    );
}

#[test]
fn an_acknowledged_message_is_sent_again_when_the_log_lost_it() {
    let mut script = Script::entered();
    script.enter("kept");
    script.message("1", "me", "kept", Some("run-1"));
    script.frame(json!({"type": "stored", "epoch": 0, "up_to_id": "1"}));
    script.enter("lost");
    script.message("2", "me", "lost", Some("run-2"));
    script.take();
    script.frame(json!({"type": "resync", "epoch": 1, "lost_after": "1", "stored_id": "1"}));
    assert_eq!(script.sent(), [retried("lost", "run-2")]);
    assert_eq!(
        script.shown_messages(),
        ["#1 10:00 you: kept ✓", "you: lost …"]
    );
    script.message("10000000001", "me", "lost", Some("run-2"));
    assert_eq!(
        script.shown_messages(),
        ["#1 10:00 you: kept ✓", "#10000000001 10:00 you: lost ✓"]
    );
}

#[test]
fn a_refused_message_says_why_and_the_next_one_goes_out() {
    let mut script = Script::entered();
    script.enter("bad");
    script.enter("good");
    script.take();
    script.frame(
        json!({"type": "message.failed", "local_id": "run-1", "error": "too bad",
        "code": "content_too_long", "retryable": false}),
    );
    assert_eq!(script.sent(), [send_action("good", "run-2")]);
    assert_eq!(
        script.shown_messages(),
        ["you: bad ✗ too bad", "you: good …"]
    );
}

#[test]
fn a_rate_limited_message_is_offered_again_when_the_server_said() {
    let mut script = Script::entered();
    script.enter("one");
    script.take();
    script.frame(
        json!({"type": "message.failed", "local_id": "run-1", "error": "slow down",
        "code": "rate_limited", "retryable": true, "retry_after_ms": 300}),
    );
    script.after_ms(299);
    assert_eq!(script.sent(), [] as [Value; 0]);
    script.after_ms(1);
    assert_eq!(script.sent(), [retried("one", "run-1")]);
}

#[test]
fn edits_and_deletes_speak_of_the_last_own_message_or_of_the_one_named() {
    let mut script = Script::entered();
    script.message("1", "me", "one", None);
    script.message("2", "me", "two", None);
    script.take();
    script.enter("/edit 1 uno");
    assert_eq!(
        script.sent(),
        [
            json!({"action": "edit_message", "message_id": "1", "content": "uno",
            "local_id": "run-1"})
        ]
    );
    script.frame(
        json!({"type": "message.edited", "message_id": "1", "content": "uno",
        "edited_by": "me", "timestamp": "2026-01-01T10:00:00.000Z", "position": "2-1",
        "local_id": "run-1"}),
    );
    script.enter("/edit 22 apples");
    let edit = &script.sent()[0];
    assert_eq!(
        (&edit["message_id"], &edit["content"]),
        (&json!("2"), &json!("22 apples"))
    );
    script.frame(
        json!({"type": "error", "action": "edit_message", "error": "no", "code":
        "unknown_message", "retryable": false}),
    );
    script.enter("/delete");
    assert_eq!(script.sent()[0]["message_id"], "2");
    assert!(script.shown_messages()[0].contains("you: uno (edited)"));
}

#[test]
fn a_change_of_the_last_message_waits_until_that_has_its_number() {
    let mut script = Script::entered();
    script.message("1", "me", "one", None);
    script.enter("two");
    script.enter("/edit TWO");
    script.enter("three");
    assert_eq!(script.sent(), [send_action("two", "run-1")]);
    script.message("2", "me", "two", Some("run-1"));
    let edit = json!({"action": "edit_message", "message_id": "2", "content": "TWO",
        "local_id": "run-2"});
    assert_eq!(script.sent(), [edit]);
}

#[test]
fn messages_of_others_are_read_by_one_frame_a_moment_later() {
    let mut script = Script::entered();
    script.message("1", "bob", "one", None);
    script.message("2", "bob", "two", None);
    assert_eq!(script.sent(), [] as [Value; 0]);
    script.after_ms(200);
    assert_eq!(
        script.sent(),
        [json!({"action": "read", "message_ids": ["2"]})]
    );
}

#[test]
fn typing_is_told_at_once_renewed_seldom_and_ended() {
    let mut script = Script::entered();
    let typing = |is_typing: bool| json!({"action": "typing", "is_typing": is_typing});
    script.input(Input::Typing(true));
    script.input(Input::Typing(true));
    assert_eq!(script.sent(), [typing(true)]);
    script.now_ms += 3_000;
    script.input(Input::Typing(true));
    assert_eq!(script.sent(), [typing(true)]);
    script.after_ms(5_000);
    assert_eq!(script.sent(), [typing(false)]);
    script.after_ms(5_000);
    assert_eq!(script.sent(), [] as [Value; 0]);
}

#[test]
fn who_types_stands_in_the_status_line_by_name_and_neutral() {
    let mut script = Script::entered();
    script.frame(
        json!({"type": "typing", "user_id": "u1", "username": "An\u{1b}n",
        "is_typing": true}),
    );
    assert_eq!(script.state.status(), "An\u{fffd}n is typing");
}

#[test]
fn a_closed_door_ends_the_chat_with_the_reason() {
    let mut script = Script::entered();
    script.close(4004);
    let quits = script
        .take()
        .into_iter()
        .any(|effect| matches!(effect, Effect::Quit(farewell) if farewell.refused.is_some()));
    assert!(quits);
}

#[test]
fn leaving_waits_for_what_was_said_last_but_not_for_ever() {
    let mut script = Script::entered();
    script.enter("last words");
    script.input(Input::Leave);
    assert!(
        !script
            .take()
            .iter()
            .any(|effect| matches!(effect, Effect::Quit(_)))
    );
    script.message("1", "me", "last words", Some("run-1"));
    let said = Effect::Quit(super::state::Farewell {
        unsent: 0,
        refused: None,
    });
    assert!(script.take().contains(&said));

    let mut script = Script::entered();
    script.enter("last words");
    script.input(Input::Ended);
    script.after_ms(10_000);
    let unsaid = Effect::Quit(super::state::Farewell {
        unsent: 1,
        refused: None,
    });
    assert!(script.take().contains(&unsaid));
}

#[test]
fn an_ended_input_waits_until_history_was_shown_and_read() {
    let mut script = Script::new();
    script.input(Input::Ended);
    script.open();
    script.hello(0, true);
    script.page(&[("1", "bob", "hi")]);
    assert!(
        !script
            .take()
            .iter()
            .any(|effect| matches!(effect, Effect::Quit(_)))
    );
    script.after_ms(200);
    assert!(matches!(
        script.take().as_slice(),
        [Effect::Send(_), Effect::Quit(_)]
    ));
}

#[test]
fn a_draining_server_is_left_and_resumed_at_once() {
    let mut script = Script::entered();
    script.message("4", "bob", "four", None);
    script.take();
    script.frame(json!({"type": "reconnect", "after_ms": 100, "reason": "drain"}));
    script.after_ms(100);
    script.after_ms(0);
    let since = parlance_protocol::Position::parse("4");
    assert_eq!(script.take(), [Effect::Drop, Effect::Connect { since }]);
}

#[test]
fn more_shows_older_messages_once() {
    let mut script = Script::new();
    script.open();
    script.hello(0, true);
    script.page(&[("9", "bob", "nine")]);
    script.take();
    script.enter("/more");
    assert_eq!(
        script.sent(),
        [json!({"action": "fetch_messages", "limit": 20, "before_id": "9"})]
    );
    script.page(&[("8", "bob", "eight"), ("7", "bob", "seven")]);
    script.enter("/more");
    assert_eq!(script.sent()[0]["before_id"], "7");
    assert_eq!(
        script.shown_messages(),
        [
            "#9 10:00 bob: nine",
            "#7 10:00 bob: seven",
            "#8 10:00 bob: eight"
        ]
    );
}
