//! What a shard counts. What happens per delivery is added up here and handed over once per turn.

use parlance_core::room::{ActionKind, Counted, ResumeSource};
use parlance_protocol::{CloseCode, ErrorCode};
use parlance_telemetry::{
    Metrics,
    labels::{Action, Code, Initiator, Outcome, RateLimit, Resume},
};

use crate::frame::FrameWriter;

/// The counts of a shard.
pub(super) struct Stats {
    pub(super) metrics: Metrics,
    texts: u64,
    writes: u64,
    sent_bytes: u64,
    received_bytes: u64,
}

impl Stats {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            texts: 0,
            writes: 0,
            sent_bytes: 0,
            received_bytes: 0,
        }
    }

    pub(super) fn wrote(&mut self, frames: &FrameWriter) {
        self.texts += frames.texts();
        self.writes += 1;
        self.sent_bytes += frames.as_slice().len() as u64;
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.received_bytes += bytes as u64;
    }

    /// At the end of a turn.
    pub(super) fn hand_over(&mut self) {
        let metrics = &self.metrics;
        for (counter, count) in [
            (&metrics.frames_sent, &mut self.texts),
            (&metrics.writes, &mut self.writes),
            (&metrics.sent_bytes, &mut self.sent_bytes),
            (&metrics.received_bytes, &mut self.received_bytes),
        ] {
            if *count > 0 {
                counter.increment(std::mem::take(count));
            }
        }
    }

    pub(super) fn closed_by_server(&self, code: CloseCode) {
        if matches!(code, CloseCode::RateLimited | CloseCode::TooManyErrors) {
            self.metrics
                .rate_limited
                .of(RateLimit::Refusals)
                .increment(1);
        }
        let code = Code::of(code.get());
        self.metrics.closes.of(code, Initiator::Server).increment(1);
    }

    /// `None`: a close frame without a code.
    pub(super) fn closed_by_client(&self, code: Option<u16>) {
        let code = code.map_or(Code::Empty, Code::of);
        self.metrics.closes.of(code, Initiator::Client).increment(1);
    }

    pub(super) fn lost(&self) {
        let closes = &self.metrics.closes;
        closes.of(Code::Lost, Initiator::Client).increment(1);
    }

    pub(super) fn counted(&self, counted: Counted) {
        match counted {
            Counted::Action(kind, refused) => {
                if refused == Some(ErrorCode::RateLimited) {
                    self.metrics
                        .rate_limited
                        .of(RateLimit::Actions)
                        .increment(1);
                }
                let outcome = refused.map_or(Outcome::Ok, outcome);
                self.metrics.actions.of(action(kind), outcome).increment(1);
            }
            Counted::Resume(source) => self.metrics.resumes.of(resume(source)).increment(1),
            Counted::Gap => self.metrics.gaps_healed.increment(1),
            Counted::RingMiss => self.metrics.ring_misses.increment(1),
        }
    }
}

const fn action(kind: ActionKind) -> Action {
    match kind {
        ActionKind::SendMessage => Action::SendMessage,
        ActionKind::EditMessage => Action::EditMessage,
        ActionKind::DeleteMessage => Action::DeleteMessage,
        ActionKind::Typing => Action::Typing,
        ActionKind::Read => Action::Read,
        ActionKind::FetchMessages => Action::FetchMessages,
        ActionKind::Heartbeat => Action::Heartbeat,
        ActionKind::Auth => Action::Auth,
        ActionKind::Unknown => Action::Unknown,
    }
}

const fn outcome(code: ErrorCode) -> Outcome {
    match code {
        ErrorCode::InvalidJson => Outcome::InvalidJson,
        ErrorCode::UnknownAction => Outcome::UnknownAction,
        ErrorCode::InvalidField => Outcome::InvalidField,
        ErrorCode::InvalidContent => Outcome::InvalidContent,
        ErrorCode::ContentTooLong => Outcome::ContentTooLong,
        ErrorCode::InvalidLocalId => Outcome::InvalidLocalId,
        ErrorCode::LocalIdConflict => Outcome::LocalIdConflict,
        ErrorCode::WrongConversation => Outcome::WrongConversation,
        ErrorCode::UnknownMessage => Outcome::UnknownMessage,
        ErrorCode::NotAuthor => Outcome::NotAuthor,
        ErrorCode::AccessDenied => Outcome::AccessDenied,
        ErrorCode::ResumeLost => Outcome::ResumeLost,
        ErrorCode::ResumeTooOld => Outcome::ResumeTooOld,
        ErrorCode::RateLimited => Outcome::RateLimited,
        ErrorCode::Unavailable => Outcome::Unavailable,
        ErrorCode::Internal => Outcome::Internal,
    }
}

const fn resume(source: ResumeSource) -> Resume {
    match source {
        ResumeSource::Ring => Resume::Ring,
        ResumeSource::History => Resume::History,
        ResumeSource::TooOld => Resume::TooOld,
        ResumeSource::Lost => Resume::Lost,
    }
}
