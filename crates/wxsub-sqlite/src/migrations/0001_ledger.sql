-- Times are milliseconds since 1970 (UTC). Ids are the 16 bytes of a UUID. docs/outbox.md describes the tables.
-- No rule has IN with more than two values: SQLite would make a table of them for each row that is written.

CREATE TABLE wxsub_app (
    appid                 TEXT    NOT NULL PRIMARY KEY,
    -- An operator paused it.
    paused_by             TEXT,
    paused_note           TEXT,
    paused_ms             INTEGER,
    -- 45011: it waits until then.
    minute_quota_until_ms INTEGER,
    -- 45009: it waits until then; the next message that tests it, and the one under way.
    daily_quota_until_ms  INTEGER,
    daily_quota_probe_ms  INTEGER,
    daily_quota_probe     BLOB,
    -- No token: it waits until then, after so many failures in a row.
    token_until_ms        INTEGER,
    token_failures        INTEGER,
    -- How many of its maybe_sent messages have no decision.
    undecided             INTEGER NOT NULL CHECK (undecided >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE wxsub_count (
    appid    TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    messages INTEGER NOT NULL CHECK (messages >= 0),
    PRIMARY KEY (appid, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE wxsub_worker (
    id      BLOB    NOT NULL PRIMARY KEY,
    beat_ms INTEGER NOT NULL,
    gone_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX wxsub_worker_gone ON wxsub_worker (gone_ms);

CREATE TABLE wxsub_grant (
    -- The order in which grants were recorded. Never used again.
    seq                 INTEGER PRIMARY KEY AUTOINCREMENT,
    id                  BLOB    NOT NULL UNIQUE,
    appid               TEXT    NOT NULL,
    openid              TEXT    NOT NULL,
    template_id         TEXT    NOT NULL,
    scene               INTEGER NOT NULL,
    state               TEXT    NOT NULL
        CHECK (state = 'open' OR state = 'reserved' OR state = 'attempting' OR state = 'used' OR state = 'in_doubt' OR state = 'void'),
    consented_ms        INTEGER NOT NULL,
    callback_expires_ms INTEGER NOT NULL
) STRICT;

-- An openid is one app's.
CREATE INDEX wxsub_grant_user ON wxsub_grant (openid);
CREATE UNIQUE INDEX wxsub_grant_open ON wxsub_grant (openid, appid, template_id, scene) WHERE state = 'open';
CREATE INDEX wxsub_grant_state ON wxsub_grant (appid, state) WHERE state <> 'used';
CREATE INDEX wxsub_grant_spent ON wxsub_grant (consented_ms) WHERE state = 'used' OR state = 'void';

CREATE TABLE wxsub_nonce (
    nonce    BLOB NOT NULL PRIMARY KEY,
    grant_id BLOB NOT NULL REFERENCES wxsub_grant (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX wxsub_nonce_grant ON wxsub_nonce (grant_id);

CREATE TABLE wxsub_message (
    id              BLOB    NOT NULL PRIMARY KEY,
    appid           TEXT    NOT NULL,
    state           TEXT    NOT NULL
        CHECK (state = 'queued' OR state = 'attempting' OR state = 'sent' OR state = 'refused'
               OR state = 'maybe_sent' OR state = 'not_sent' OR state = 'cancelled'),
    reason          TEXT,
    mode            TEXT    NOT NULL CHECK (mode = 'queued' OR mode = 'synchronous'),
    -- Absent if the message is invalid and they cannot be read.
    touser          TEXT,
    template_id     TEXT,
    scene           INTEGER,
    priority        TEXT    NOT NULL CHECK (priority = 'high' OR priority = 'normal' OR priority = 'low'),
    attempt         INTEGER NOT NULL,
    failures        INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    created_ms      INTEGER NOT NULL,
    send_ms         INTEGER NOT NULL,
    due_ms          INTEGER NOT NULL,
    expires_ms      INTEGER NOT NULL,
    attempted_ms    INTEGER,
    settled_ms      INTEGER,
    worker          BLOB,
    stage           TEXT,
    errcode         INTEGER,
    errmsg          TEXT,
    rid             TEXT,
    remedy          TEXT,
    idempotency_key TEXT,
    grant_id        BLOB,
    decision        TEXT CHECK (decision = 'assume_sent' OR decision = 'give_up' OR decision = 'send_again'),
    decided_by      TEXT,
    decided_note    TEXT,
    decided_ms      INTEGER,
    child_id        BLOB,
    parent_id       BLOB,
    restored_ms     INTEGER,
    CHECK (reason IS 'invalid' OR touser IS NOT NULL AND template_id IS NOT NULL AND scene IS NOT NULL),
    CHECK (worker IS NOT NULL OR state <> 'attempting'),
    CHECK (decision IS NULL OR state = 'maybe_sent')
) STRICT, WITHOUT ROWID;

-- Each index ends with the id.
CREATE INDEX wxsub_message_app ON wxsub_message (appid);
CREATE INDEX wxsub_message_state ON wxsub_message (appid, state) WHERE state <> 'sent' AND state <> 'attempting';
CREATE INDEX wxsub_message_user ON wxsub_message (touser);
CREATE INDEX wxsub_message_due ON wxsub_message (appid, priority, due_ms, id, expires_ms) WHERE state = 'queued';
CREATE INDEX wxsub_message_expires ON wxsub_message (expires_ms) WHERE state = 'queued';
CREATE INDEX wxsub_message_attempting ON wxsub_message (appid) WHERE state = 'attempting';
CREATE INDEX wxsub_message_undecided ON wxsub_message (appid) WHERE state = 'maybe_sent' AND decision IS NULL;
CREATE INDEX wxsub_message_settled ON wxsub_message (state, settled_ms)
    WHERE state = 'sent' OR state = 'refused' OR state = 'not_sent' OR state = 'cancelled';
CREATE INDEX wxsub_message_decided ON wxsub_message (decided_ms) WHERE state = 'maybe_sent' AND decision IS NOT NULL;
-- One grant, one message that may have been sent.
CREATE UNIQUE INDEX wxsub_message_grant ON wxsub_message (grant_id)
    WHERE grant_id IS NOT NULL
      AND (state = 'queued' OR state = 'attempting' OR state = 'sent'
           OR state = 'maybe_sent' AND (decision IS NULL OR decision = 'assume_sent'));

-- What is posted, as JSON. The row goes when nothing more can happen to the message, and its space is used again.
CREATE TABLE wxsub_body (
    message_id BLOB NOT NULL PRIMARY KEY REFERENCES wxsub_message (id) ON DELETE CASCADE,
    body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE wxsub_event (
    message_id BLOB    NOT NULL REFERENCES wxsub_message (id) ON DELETE CASCADE,
    version    INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL,
    event      TEXT    NOT NULL,
    attempt    INTEGER NOT NULL,
    -- The 16 bytes of a worker's id, or a name.
    actor      ANY,
    detail     TEXT,
    PRIMARY KEY (message_id, version)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER wxsub_event_append_only BEFORE UPDATE ON wxsub_event
BEGIN
    SELECT RAISE(ABORT, 'wxsub_event is append-only');
END;

CREATE TABLE wxsub_key (
    appid       TEXT    NOT NULL,
    -- The client that sent the key; empty for an embedded outbox; batch:NAME for a batch.
    client      TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    message_id  BLOB    NOT NULL REFERENCES wxsub_message (id),
    -- When the ledger looks whether the key may be deleted: never for a batch.
    check_ms    INTEGER NOT NULL,
    PRIMARY KEY (appid, client, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX wxsub_key_message ON wxsub_key (message_id);
CREATE INDEX wxsub_key_check ON wxsub_key (check_ms);

-- What operators did, in the transaction in which they did it.
CREATE TABLE wxsub_audit (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms   INTEGER NOT NULL,
    -- Empty if it is not known.
    actor   TEXT    NOT NULL,
    address TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    appid   TEXT,
    -- The id of the message or grant, if it is about one.
    subject TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    outcome TEXT    NOT NULL CHECK (outcome = 'done' OR outcome = 'not_done')
) STRICT;

CREATE TRIGGER wxsub_audit_append_only BEFORE UPDATE ON wxsub_audit
BEGIN
    SELECT RAISE(ABORT, 'wxsub_audit is append-only');
END;

-- The endpoints that get webhooks, as a server found them in its configuration.
CREATE TABLE wxsub_webhook_endpoint (
    name        TEXT    NOT NULL PRIMARY KEY,
    url_sha256  BLOB    NOT NULL,
    -- Separated by spaces; NULL for all.
    apps        TEXT,
    events      TEXT    NOT NULL,
    with_openid INTEGER NOT NULL,
    -- It responded that it is gone.
    disabled_ms INTEGER
) STRICT, WITHOUT ROWID;

-- Notifications that endpoints have not taken yet. The row goes when the endpoint took it.
CREATE TABLE wxsub_webhook_delivery (
    endpoint   TEXT    NOT NULL,
    message_id BLOB    NOT NULL,
    -- The version of the message after the event.
    sequence   INTEGER NOT NULL,
    event      TEXT    NOT NULL,
    -- What is posted, as JSON.
    body       TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    -- NULL for a dead letter.
    due_ms     INTEGER,
    -- Why the last attempt failed; NULL before the first one and during each.
    error      TEXT,
    PRIMARY KEY (endpoint, message_id, sequence)
) STRICT, WITHOUT ROWID;

CREATE INDEX wxsub_webhook_due ON wxsub_webhook_delivery (endpoint, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX wxsub_webhook_failed ON wxsub_webhook_delivery (endpoint, created_ms) WHERE error IS NOT NULL;
CREATE INDEX wxsub_webhook_dead ON wxsub_webhook_delivery (endpoint) WHERE due_ms IS NULL;
CREATE INDEX wxsub_webhook_created ON wxsub_webhook_delivery (created_ms);
