//! The rules of the protocol, each of which can be dropped.

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) put: Put,
    pub(crate) generations: Generations,
    /// One fetches at a time.
    pub(crate) lease: bool,
    /// Whoever has the lease looks first whether somebody else has fetched.
    pub(crate) load_first: bool,
    /// No call once the lease may have ended.
    pub(crate) distrust: bool,
    /// A mark in the store before each call.
    pub(crate) mark: bool,
    /// The mark stays when the answer is lost.
    pub(crate) lost_answer_leaves_mark: bool,
    /// Nobody takes away another's mark.
    pub(crate) own_mark_only: bool,
    /// A token that is stored takes the mark away.
    pub(crate) put_clears_mark: bool,
    /// Whoever loses a race adopts, and fetches once more under the lease.
    pub(crate) second_fetch: bool,
    /// A token seen rejected is not adopted again.
    pub(crate) shun_rejected: bool,
    /// A store that has fallen behind is given the token held.
    pub(crate) publish: bool,
    /// Whoever fetched without the store and finds another's token there fetches once more under the lease.
    pub(crate) doubt_alone: bool,
    /// Whoever made a call that came to nothing remembers when it ended: only a token asked for later settles it.
    pub(crate) remember_calls: bool,
    /// A token that could not be stored counts as fetched without the store.
    pub(crate) unsaved_is_alone: bool,
    /// What a fetch without the store did not know counts from its beginning, not from its end.
    pub(crate) known_at_start: bool,
}

/// How the store decides whether to take a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// If it still holds the generation that is to be replaced, and that is lower.
    CompareAndSet,
    /// If what it holds is of a lower generation.
    IfNewer,
    /// Unless it holds a token that was fetched under a later lease.
    Fence,
    /// Always.
    Blind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generations {
    /// When the token was asked for, by a clock that is right.
    Times,
    /// One more than the last known.
    Counted,
}

impl Rules {
    pub(crate) const ALL: Self = Self {
        put: Put::CompareAndSet,
        generations: Generations::Times,
        lease: true,
        load_first: true,
        distrust: true,
        mark: true,
        lost_answer_leaves_mark: true,
        own_mark_only: true,
        put_clears_mark: true,
        second_fetch: true,
        shun_rejected: true,
        publish: true,
        doubt_alone: true,
        remember_calls: true,
        unsaved_is_alone: true,
        known_at_start: true,
    };
}
