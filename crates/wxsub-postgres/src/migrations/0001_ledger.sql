-- Times are milliseconds since 1970 (UTC). docs/postgres.md describes the tables.
--
-- Rows change two or three times, so a tenth of each page is left free, and autovacuum begins at one row in a hundred.

CREATE TABLE wxsub_app (
    appid                 text   NOT NULL PRIMARY KEY,
    -- An operator paused it.
    paused_by             text,
    paused_note           text,
    paused_ms             bigint,
    -- 45011: it waits until then.
    minute_quota_until_ms bigint,
    -- 45009: it waits until then; the next message that tests it, and the one under way.
    daily_quota_until_ms  bigint,
    daily_quota_probe_ms  bigint,
    daily_quota_probe     uuid,
    -- No token: it waits until then, after so many failures in a row.
    token_until_ms        bigint,
    token_failures        integer
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- The number of messages in a state is the sum over all shards: a worker adds to one of them, so that workers do not wait for
-- each other. One shard can be negative.
CREATE TABLE wxsub_count (
    appid    text     NOT NULL,
    -- A state, or 'undecided': the maybe_sent messages without a decision.
    state    text     NOT NULL,
    shard    smallint NOT NULL,
    messages bigint   NOT NULL,
    PRIMARY KEY (appid, state, shard)
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE wxsub_worker (
    id      uuid   NOT NULL PRIMARY KEY,
    beat_ms bigint NOT NULL,
    gone_ms bigint
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX wxsub_worker_gone ON wxsub_worker (gone_ms);

CREATE TABLE wxsub_grant (
    id                  uuid    NOT NULL PRIMARY KEY,
    -- The order in which the grants of a subject were recorded.
    seq                 bigint  NOT NULL GENERATED ALWAYS AS IDENTITY,
    appid               text    NOT NULL,
    openid              text    NOT NULL,
    template_id         text    NOT NULL,
    scene               integer NOT NULL,
    state               text    NOT NULL
        CHECK (state IN ('open', 'reserved', 'attempting', 'used', 'in_doubt', 'void')),
    consented_ms        bigint  NOT NULL,
    callback_expires_ms bigint  NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX wxsub_grant_user ON wxsub_grant (openid, appid, seq);
CREATE UNIQUE INDEX wxsub_grant_open ON wxsub_grant (openid, appid, template_id, scene) WHERE state = 'open';
CREATE INDEX wxsub_grant_unfinished ON wxsub_grant (appid, state, seq)
    WHERE state IN ('open', 'reserved', 'attempting', 'in_doubt');
CREATE INDEX wxsub_grant_spent ON wxsub_grant (consented_ms) WHERE state IN ('used', 'void');

CREATE TABLE wxsub_nonce (
    nonce    uuid NOT NULL PRIMARY KEY,
    grant_id uuid NOT NULL REFERENCES wxsub_grant (id) ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX wxsub_nonce_grant ON wxsub_nonce (grant_id);

CREATE TABLE wxsub_message (
    id              uuid    NOT NULL PRIMARY KEY,
    appid           text    NOT NULL,
    mode            text    NOT NULL CHECK (mode IN ('queued', 'synchronous')),
    -- Absent if the message is invalid and they cannot be read.
    touser          text,
    template_id     text,
    scene           integer,
    priority        text    NOT NULL CHECK (priority IN ('high', 'normal', 'low')),
    created_ms      bigint  NOT NULL,
    send_ms         bigint  NOT NULL,
    expires_ms      bigint  NOT NULL,
    idempotency_key text,
    grant_id        uuid,
    parent_id       uuid,
    state           text    NOT NULL
        CHECK (state IN ('queued', 'attempting', 'sent', 'refused', 'maybe_sent', 'not_sent', 'cancelled')),
    reason          text,
    attempt         integer NOT NULL,
    failures        integer NOT NULL,
    version         integer NOT NULL,
    due_ms          bigint  NOT NULL,
    attempted_ms    bigint,
    settled_ms      bigint,
    worker          uuid,
    stage           text,
    errcode         bigint,
    errmsg          text,
    rid             text,
    remedy          text,
    decision        text    CHECK (decision IN ('assume_sent', 'give_up', 'send_again')),
    decided_by      text,
    decided_note    text,
    decided_ms      bigint,
    child_id        uuid,
    restored_ms     bigint,
    -- What is posted, as JSON. It goes when nothing more can happen to the message.
    body            text,
    CHECK (reason IS NOT DISTINCT FROM 'invalid' OR touser IS NOT NULL AND template_id IS NOT NULL AND scene IS NOT NULL),
    CHECK (worker IS NOT NULL OR state <> 'attempting'),
    CHECK (decision IS NULL OR state = 'maybe_sent')
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX wxsub_message_app ON wxsub_message (appid, id);
CREATE INDEX wxsub_message_state ON wxsub_message (appid, state, id) WHERE state <> 'sent';
CREATE INDEX wxsub_message_user ON wxsub_message (touser, id);
CREATE INDEX wxsub_message_due ON wxsub_message (appid, priority, due_ms, id) WHERE state = 'queued';
CREATE INDEX wxsub_message_expires ON wxsub_message (expires_ms, id) WHERE state = 'queued';
CREATE INDEX wxsub_message_attempting ON wxsub_message (worker, id) WHERE state = 'attempting';
CREATE INDEX wxsub_message_undecided ON wxsub_message (appid, id) WHERE state = 'maybe_sent' AND decision IS NULL;
CREATE INDEX wxsub_message_settled ON wxsub_message (state, settled_ms)
    WHERE state IN ('sent', 'refused', 'not_sent', 'cancelled');
CREATE INDEX wxsub_message_decided ON wxsub_message (decided_ms) WHERE state = 'maybe_sent' AND decision IS NOT NULL;
-- One grant, one message that may have been sent.
CREATE UNIQUE INDEX wxsub_message_grant ON wxsub_message (grant_id)
    WHERE grant_id IS NOT NULL
      AND (state IN ('queued', 'attempting', 'sent')
           OR state = 'maybe_sent' AND (decision IS NULL OR decision = 'assume_sent'));

CREATE TABLE wxsub_event (
    message_id uuid    NOT NULL,
    version    integer NOT NULL,
    at_ms      bigint  NOT NULL,
    event      text    NOT NULL,
    attempt    integer NOT NULL,
    actor      text,
    detail     text,
    PRIMARY KEY (message_id, version)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE FUNCTION wxsub_event_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'wxsub_event is append-only';
END
$$;

CREATE TRIGGER wxsub_event_append_only BEFORE UPDATE ON wxsub_event
    FOR EACH STATEMENT EXECUTE FUNCTION wxsub_event_append_only();

CREATE TABLE wxsub_key (
    appid       text   NOT NULL,
    -- The client that sent the key; empty for an embedded outbox; batch:NAME for a batch.
    client      text   NOT NULL,
    key         text   NOT NULL,
    fingerprint bytea  NOT NULL,
    message_id  uuid   NOT NULL REFERENCES wxsub_message (id),
    -- When the ledger looks whether the key may be deleted: never for a batch.
    check_ms    bigint NOT NULL,
    PRIMARY KEY (appid, client, key)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX wxsub_key_message ON wxsub_key (message_id);
CREATE INDEX wxsub_key_check ON wxsub_key (check_ms);

-- Applications insert rows in their own transactions. docs/inbox.md describes it.
CREATE TABLE wxsub_inbox (
    id            CHAR(36) PRIMARY KEY,
    appid         VARCHAR(64) NOT NULL,
    message       JSONB NOT NULL,
    send_at_ms    BIGINT,
    expires_at_ms BIGINT,
    priority      VARCHAR(6) NOT NULL DEFAULT 'normal' CHECK (priority IN ('high', 'normal', 'low')),
    created_at_ms BIGINT NOT NULL DEFAULT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT,
    error         TEXT
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX wxsub_inbox_waiting ON wxsub_inbox (created_at_ms, id) WHERE error IS NULL;

-- What operators did, in the transaction in which they did it.
CREATE TABLE wxsub_audit (
    seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms   bigint NOT NULL,
    -- Empty if it is not known.
    actor   text   NOT NULL,
    address text   NOT NULL,
    action  text   NOT NULL,
    appid   text,
    -- The id of the message or grant, if it is about one.
    subject text   NOT NULL,
    detail  text   NOT NULL,
    outcome text   NOT NULL CHECK (outcome IN ('done', 'not_done'))
);

CREATE FUNCTION wxsub_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'wxsub_audit is append-only';
END
$$;

CREATE TRIGGER wxsub_audit_append_only BEFORE UPDATE ON wxsub_audit
    FOR EACH STATEMENT EXECUTE FUNCTION wxsub_audit_append_only();

-- The endpoints that get webhooks, as a server found them in its configuration.
CREATE TABLE wxsub_webhook_endpoint (
    name        text    NOT NULL PRIMARY KEY,
    url_sha256  bytea   NOT NULL,
    -- Separated by spaces; NULL for all.
    apps        text,
    events      text    NOT NULL,
    with_openid boolean NOT NULL,
    -- It responded that it is gone.
    disabled_ms bigint
);

-- Notifications that endpoints have not taken yet. The row goes when the endpoint took it.
CREATE TABLE wxsub_webhook_delivery (
    endpoint   text    NOT NULL,
    message_id uuid    NOT NULL,
    -- The version of the message after the event.
    sequence   integer NOT NULL,
    event      text    NOT NULL,
    -- What is posted, as JSON.
    body       text    NOT NULL,
    created_ms bigint  NOT NULL,
    attempt    integer NOT NULL,
    -- NULL for a dead letter.
    due_ms     bigint,
    -- Why the last attempt failed; NULL before the first one and during each.
    error      text,
    PRIMARY KEY (endpoint, message_id, sequence)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX wxsub_webhook_due ON wxsub_webhook_delivery (endpoint, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX wxsub_webhook_failed ON wxsub_webhook_delivery (endpoint, (created_ms + 0), message_id, sequence)
    WHERE error IS NOT NULL;
CREATE INDEX wxsub_webhook_dead ON wxsub_webhook_delivery (endpoint) WHERE due_ms IS NULL;
CREATE INDEX wxsub_webhook_created ON wxsub_webhook_delivery (created_ms);
