//! All statements. A test checks that each of them uses an index.

use wxsub_outbox::{statements, texts};

texts! {
    /// The columns of `wxsub_message` in the order in which they are written: the id, the 20 that change, and those that never do.
    message = "id, state, reason, attempt, failures, version, due_ms, attempted_ms, settled_ms, worker, stage, errcode, errmsg, \
     rid, remedy, decision, decided_by, decided_note, decided_ms, child_id, restored_ms, appid, mode, touser, \
     template_id, scene, priority, created_ms, send_ms, expires_ms, idempotency_key, grant_id, parent_id, body";
    in_state = " AND state = $4 AND state <> 'sent'";
    undecided = "state = 'maybe_sent' AND decision IS NULL";
    of_user = concat!(
        " AND touser = $4 AND ($5::text IS NULL OR state = $5) AND (NOT $6::boolean OR ",
        undecided!(),
        ")"
    );
    grant = "id, appid, openid, template_id, scene, state, consented_ms, callback_expires_ms";
    /// Grants behind the one with this id. If it was deleted, behind the one before it.
    behind = "seq > coalesce((SELECT seq FROM wxsub_grant WHERE id <= $3 ORDER BY id DESC LIMIT 1), 0)";
    key = "appid, client, key, fingerprint, message_id, check_ms";
    endpoint = "name, url_sha256, apps, events, with_openid, disabled_ms";
    delivery = "endpoint, message_id, sequence, event, body, created_ms, attempt, due_ms, error";
    /// The clock of the database, in milliseconds.
    now = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    pauses = "paused_by, paused_note, paused_ms, minute_quota_until_ms, daily_quota_until_ms, daily_quota_probe_ms, \
     daily_quota_probe, token_until_ms, token_failures";
    /// Messages that hold their grants: the predicate of a unique index.
    holds_grant = "grant_id IS NOT NULL AND (state IN ('queued', 'attempting', 'sent')
     OR state = 'maybe_sent' AND (decision IS NULL OR decision = 'assume_sent'))";
    /// Rows of the inbox that this process records: of apps that it serves, and those whose app is no AppID.
    is_ours = "(appid = ANY ($1) OR appid !~ '^[A-Za-z0-9_-]+$')";
}

/// Messages of an app that meet these conditions.
macro_rules! list {
    ($behind:expr, $($condition:expr),+) => {
        concat!("SELECT ", message!(), " FROM wxsub_message WHERE appid = $1 AND ", $behind, $($condition),+)
    };
}

/// Due messages of one priority, unless those before have reached the limit. Locked ones are skipped.
macro_rules! due {
    ($priority:literal, $limit:literal) => {
        concat!(
            "AS MATERIALIZED (SELECT ",
            message!(),
            " FROM wxsub_message
             WHERE state = 'queued' AND appid = $1 AND priority = '",
            $priority,
            "' AND due_ms <= $2 AND expires_ms > $2
             ORDER BY due_ms, id LIMIT ",
            $limit,
            " FOR UPDATE SKIP LOCKED)"
        )
    };
}

/// The newest grant of each subject: its four columns as arrays.
macro_rules! newest {
    ($columns:expr, $appid:literal, $openid:literal, $template:literal, $scene:literal) => {
        concat!(
            "SELECT ", $columns, " FROM unnest(", $appid, "::text[], ", $openid, "::text[], ", $template, "::text[], ",
            $scene, "::integer[]) AS s (appid, openid, template_id, scene)
             CROSS JOIN LATERAL (SELECT * FROM wxsub_grant AS g
                 WHERE g.openid = s.openid AND g.appid = s.appid AND g.template_id = s.template_id AND g.scene = s.scene
                 ORDER BY g.seq DESC LIMIT 1) AS n"
        )
    };
}

/// The table `app`: each app that has messages with this predicate of an index; at last NULL.
macro_rules! next_app {
    ($predicate:literal) => {
        concat!(
            "WITH RECURSIVE app (appid) AS (
                (SELECT appid FROM wxsub_message WHERE ",
            $predicate,
            " ORDER BY appid LIMIT 1)
                UNION ALL
                SELECT (SELECT m.appid FROM wxsub_message AS m WHERE ",
            $predicate,
            " AND m.appid > app.appid ORDER BY m.appid LIMIT 1)
                FROM app WHERE app.appid IS NOT NULL)"
        )
    };
}

/// Whether an app has a due message of a priority. The sum keeps the planner from the index of expiry, which holds all queued ones.
macro_rules! has_due {
    ($priority:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM wxsub_message AS m
             WHERE m.state = 'queued' AND m.appid = app.appid AND m.priority = '",
            $priority,
            "' AND m.due_ms <= clock.now AND m.expires_ms + 0 > clock.now)"
        )
    };
}

/// When the first queued message of a priority is due.
macro_rules! first_due {
    ($priority:literal, $appid:literal) => {
        concat!(
            "(SELECT min(due_ms) FROM wxsub_message
              WHERE state = 'queued' AND priority = '",
            $priority,
            "' AND appid = ",
            $appid,
            ")"
        )
    };
}

statements! {
    BEGIN = ["BEGIN"];
    /// Waits for other transactions that write endpoints. Reading goes on.
    LOCK_ENDPOINTS = ["LOCK TABLE wxsub_webhook_endpoint IN SHARE ROW EXCLUSIVE MODE"];
    /// The clock of the database.
    NOW = ["SELECT ", now!()];
    /// The clock of the database, and the endpoints that get webhooks: one row for each, or one without.
    NOW_AND_ENDPOINTS = ["SELECT ", endpoint!(), ", ", now!(), "
        FROM (VALUES (1)) AS one LEFT JOIN wxsub_webhook_endpoint ON true ORDER BY name"];

    LISTEN = ["LISTEN wxsub_queued"];
    /// Notifies the workers of other processes if one of these apps had no due message. Gives one row.
    NOTIFY = ["SELECT count(pg_notify('wxsub_queued', '')) FROM (
        SELECT 1 FROM unnest($1::text[]) AS app (appid) CROSS JOIN (SELECT $2::bigint AS now) AS clock
        WHERE NOT (", has_due!("high"), " OR ", has_due!("normal"), " OR ", has_due!("low"), ") LIMIT 1) AS idle"];

    WORKERS = ["SELECT id, beat_ms, gone_ms FROM wxsub_worker WHERE id = ANY ($1) ORDER BY id"];
    LOCK_WORKERS = ["SELECT id, beat_ms, gone_ms FROM wxsub_worker WHERE id = ANY ($1) ORDER BY id FOR UPDATE"];
    LIVE_WORKERS = ["SELECT id, beat_ms, gone_ms FROM wxsub_worker WHERE gone_ms IS NULL"];
    GONE_WORKERS = ["SELECT id, beat_ms, gone_ms FROM wxsub_worker WHERE gone_ms <= $1 FOR UPDATE SKIP LOCKED"];
    PUT_WORKERS = ["INSERT INTO wxsub_worker (id, beat_ms, gone_ms) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])
        ON CONFLICT (id) DO UPDATE SET beat_ms = excluded.beat_ms, gone_ms = excluded.gone_ms"];
    DELETE_WORKERS = ["DELETE FROM wxsub_worker WHERE id = ANY ($1)"];

    APPS = ["SELECT ", pauses!(), ", appid FROM wxsub_app WHERE appid = ANY ($1) ORDER BY appid"];
    /// Reads the whole table, for a person.
    ALL_APPS = ["SELECT appid FROM wxsub_app UNION SELECT appid FROM wxsub_count ORDER BY appid"];
    INSERT_APPS = ["INSERT INTO wxsub_app (appid) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"];
    LOCK_APPS = ["SELECT ", pauses!(), ", appid FROM wxsub_app WHERE appid = ANY ($1) ORDER BY appid FOR UPDATE"];
    PUT_PAUSES = ["UPDATE wxsub_app SET (", pauses!(), ") = ROW ($1, $2, $3, $4, $5, $6, $7, $8, $9) WHERE appid = $10"];
    COUNTS = ["SELECT state, sum(messages)::bigint FROM wxsub_count WHERE appid = $1 GROUP BY state"];
    ADD_COUNTS = ["INSERT INTO wxsub_count (shard, appid, state, messages)
        SELECT $1::smallint, * FROM unnest($2::text[], $3::text[], $4::bigint[])
        ON CONFLICT (appid, state, shard) DO UPDATE SET messages = wxsub_count.messages + excluded.messages"];

    /// Locks the newest grant of each subject, and the grants with these ids.
    LOCK_GRANTS = ["SELECT g.id FROM wxsub_grant AS g WHERE g.id IN (SELECT unnest($1::uuid[]) UNION ",
        newest!("n.id", "$2", "$3", "$4", "$5"), ") ORDER BY g.id FOR UPDATE OF g"];
    GRANTS = ["SELECT ", grant!(), " FROM wxsub_grant WHERE id IN (SELECT unnest($1::uuid[]) UNION ",
        newest!("n.id", "$2", "$3", "$4", "$5"), ") ORDER BY seq"];
    GRANTS_OF_USER = ["SELECT ", grant!(), " FROM wxsub_grant WHERE openid = $1 AND appid = $2 ORDER BY seq"];
    GRANTS_IN_STATE = ["SELECT ", grant!(), " FROM wxsub_grant
        WHERE state IN ('open', 'reserved', 'attempting', 'in_doubt') AND appid = $1 AND state = $2
          AND ", behind!(), " ORDER BY seq LIMIT $4"];
    /// Reads all used and void grants.
    SPENT_GRANTS_IN_STATE = ["SELECT ", grant!(), " FROM wxsub_grant
        WHERE state IN ('used', 'void') AND appid = $1 AND state = $2
          AND ", behind!(), " ORDER BY seq LIMIT $4"];
    BATCHES = ["SELECT DISTINCT client FROM wxsub_key
        WHERE appid = $1 AND client > 'batch:' AND client < 'batch;' ORDER BY client LIMIT $2"];
    UPDATE_GRANTS = ["UPDATE wxsub_grant AS g SET state = u.state, callback_expires_ms = u.callback_expires_ms
        FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS u (id, state, callback_expires_ms) WHERE g.id = u.id"];
    INSERT_GRANTS = ["INSERT INTO wxsub_grant (", grant!(), ")
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[], $7::bigint[], $8::bigint[])"];
    /// Gives the number of the grants.
    DOUBT_GRANTS = ["WITH doubted AS (UPDATE wxsub_grant SET state = 'in_doubt'
            WHERE state IN ('open', 'reserved', 'attempting') RETURNING 1)
        SELECT count(*) FROM doubted"];
    SPENT_GRANTS = ["SELECT ", grant!(), " FROM wxsub_grant AS spent
        WHERE state IN ('used', 'void') AND consented_ms <= $1 AND callback_expires_ms <= $2
          AND NOT EXISTS (
              SELECT 1 FROM wxsub_grant AS older
              WHERE older.openid = spent.openid AND older.appid = spent.appid
                AND older.template_id = spent.template_id AND older.scene = spent.scene
                AND older.seq < spent.seq AND older.state NOT IN ('used', 'void'))
        ORDER BY consented_ms LIMIT $3 FOR UPDATE SKIP LOCKED"];
    DELETE_GRANTS = ["DELETE FROM wxsub_grant WHERE id = ANY ($1)"];
    NONCES = ["SELECT nonce, grant_id FROM wxsub_nonce WHERE nonce = ANY ($1)"];
    INSERT_NONCES = ["INSERT INTO wxsub_nonce (nonce, grant_id) SELECT * FROM unnest($1::uuid[], $2::uuid[])"];

    /// Locks the messages with these ids, and those that the keys stand for.
    LOCK_MESSAGES = ["SELECT ", message!(), " FROM wxsub_message AS m
        WHERE m.id IN (SELECT unnest($1::uuid[]) UNION
            SELECT k.message_id FROM unnest($2::text[], $3::text[], $4::text[]) AS n (appid, client, key)
            JOIN wxsub_key AS k ON k.appid = n.appid AND k.client = n.client AND k.key = n.key)
        ORDER BY m.id FOR UPDATE OF m"];
    LOCK_HOLDERS = ["SELECT ", message!(), " FROM wxsub_message
        WHERE grant_id = ANY ($1) AND ", holds_grant!(), " ORDER BY id FOR UPDATE"];
    /// High priority first; of the others only what is missing to the limit.
    DUE = ["WITH high ", due!("high", "$3"), ",
        normal ", due!("normal", "$3 - (SELECT count(*) FROM high)"), ",
        low ", due!("low", "$3 - (SELECT count(*) FROM high) - (SELECT count(*) FROM normal)"), "
        SELECT * FROM high UNION ALL SELECT * FROM normal UNION ALL SELECT * FROM low"];
    /// Apps with queued messages, one index entry each, and of those the ones with a due message. Gives the time, too.
    DUE_APPS = [next_app!("state = 'queued'"), "
        SELECT ", pauses!(), ", app.appid, clock.now FROM app
        CROSS JOIN (SELECT coalesce($1, floor(extract(epoch FROM now()) * 1000)::bigint) AS now) AS clock
        LEFT JOIN wxsub_app ON wxsub_app.appid = app.appid
        WHERE app.appid IS NOT NULL AND (", has_due!("high"), " OR ", has_due!("normal"), " OR ", has_due!("low"), ")"];
    FIRST_DUE = ["SELECT ", first_due!("high", "$1"), ", ", first_due!("normal", "$1"), ", ", first_due!("low", "$1")];
    UNDECIDED_APPS = [next_app!("state = 'maybe_sent' AND decision IS NULL"), "
        SELECT appid FROM app WHERE appid IS NOT NULL"];
    EXPIRED = ["SELECT ", message!(), " FROM wxsub_message
        WHERE state = 'queued' AND expires_ms <= $1 ORDER BY expires_ms, id LIMIT $2 FOR UPDATE SKIP LOCKED"];
    ATTEMPTS_OF = ["SELECT ", message!(), " FROM wxsub_message WHERE state = 'attempting' AND worker = ANY ($1)"];
    ATTEMPTS_OF_GONE_WORKERS = ["SELECT ", message!(), " FROM wxsub_message AS m
        WHERE state = 'attempting'
          AND NOT EXISTS (SELECT 1 FROM wxsub_worker AS w WHERE w.id = m.worker AND w.gone_ms IS NULL)
        ORDER BY id LIMIT $1 FOR UPDATE OF m SKIP LOCKED"];
    DECIDABLE = ["SELECT ", message!(), " FROM wxsub_message
        WHERE state = 'maybe_sent' AND decision IS NULL AND appid = $1
          AND CASE WHEN restored_ms IS NULL THEN attempted_ms IS NULL OR attempted_ms NOT BETWEEN $4 AND $5
              ELSE restored_ms NOT BETWEEN $2 AND $3 END
        ORDER BY id LIMIT $6 FOR UPDATE SKIP LOCKED"];
    QUEUED = ["SELECT ", message!(), " FROM wxsub_message
        WHERE state = 'queued' AND (expires_ms, id) > ($1, $2) ORDER BY expires_ms, id LIMIT $3 FOR UPDATE"];
    ATTEMPTING = ["SELECT ", message!(), " FROM wxsub_message WHERE state = 'attempting' FOR UPDATE"];
    UNDECIDED = ["SELECT ", message!(), " FROM wxsub_message
        WHERE state = 'maybe_sent' AND decision IS NULL AND (appid, id) > ($1, $2)
        ORDER BY appid, id LIMIT $3 FOR UPDATE"];
    /// As [`StoredMessage::waits_too_long`](wxsub_outbox::message::StoredMessage::waits_too_long).
    WAITING_TOO_LONG = ["SELECT ", message!(), " FROM wxsub_message
        WHERE state = 'queued' AND due_ms > $1 AND (due_ms <> send_ms OR send_ms = created_ms)
        LIMIT $2 FOR UPDATE SKIP LOCKED"];
    /// The messages with these ids, and those sent in their place.
    CHAINS = ["WITH RECURSIVE chain (id) AS (
            SELECT unnest($1::uuid[])
            UNION SELECT m.child_id FROM chain
                CROSS JOIN LATERAL (SELECT child_id FROM wxsub_message WHERE id = chain.id OFFSET 0) AS m
                WHERE m.child_id IS NOT NULL)
        SELECT m.* FROM chain CROSS JOIN LATERAL
            (SELECT ", message!(), " FROM wxsub_message WHERE id = chain.id OFFSET 0) AS m"];
    /// Those that a key stands for are kept, except those with these ids: their keys are looked at first.
    SETTLED = ["SELECT ", message!(), " FROM wxsub_message AS m
        WHERE state IN ('sent', 'refused', 'not_sent', 'cancelled') AND state = $1 AND settled_ms <= $2
          AND (id = ANY ($4) OR (SELECT k.message_id FROM wxsub_key AS k WHERE k.message_id = m.id LIMIT 1) IS NULL)
        ORDER BY settled_ms LIMIT $3 FOR UPDATE SKIP LOCKED"];
    DECIDED = ["SELECT ", message!(), " FROM wxsub_message AS m
        WHERE state = 'maybe_sent' AND decision IS NOT NULL AND decided_ms <= $1
          AND (id = ANY ($3) OR (SELECT k.message_id FROM wxsub_key AS k WHERE k.message_id = m.id LIMIT 1) IS NULL)
        ORDER BY decided_ms LIMIT $2 FOR UPDATE SKIP LOCKED"];
    INSERT_MESSAGES = ["INSERT INTO wxsub_message (", message!(), ")
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::integer[], $6::integer[], $7::bigint[], $8::bigint[], \
        $9::bigint[], $10::uuid[], $11::text[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::text[], \
        $17::text[], $18::text[], $19::bigint[], $20::uuid[], $21::bigint[], $22::text[], $23::text[], $24::text[], \
        $25::text[], $26::integer[], $27::text[], $28::bigint[], $29::bigint[], $30::bigint[], $31::text[], \
        $32::uuid[], $33::uuid[], $34::text[])"];
    /// A body never changes; it is only deleted.
    UPDATE_MESSAGES = ["UPDATE wxsub_message AS m SET state = u.state, reason = u.reason, attempt = u.attempt, \
        failures = u.failures, version = u.version, due_ms = u.due_ms, attempted_ms = u.attempted_ms, \
        settled_ms = u.settled_ms, worker = u.worker, stage = u.stage, errcode = u.errcode, errmsg = u.errmsg, rid = u.rid, \
        remedy = u.remedy, decision = u.decision, decided_by = u.decided_by, decided_note = u.decided_note, \
        decided_ms = u.decided_ms, child_id = u.child_id, restored_ms = u.restored_ms, \
        body = CASE WHEN u.has_body THEN m.body END
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::integer[], $6::integer[], $7::bigint[], $8::bigint[], \
        $9::bigint[], $10::uuid[], $11::text[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], \
        $18::text[], $19::bigint[], $20::uuid[], $21::bigint[], $22::boolean[])
        AS u (id, state, reason, attempt, failures, version, due_ms, attempted_ms, settled_ms, worker, stage, errcode, errmsg, \
        rid, remedy, decision, decided_by, decided_note, decided_ms, child_id, restored_ms, has_body)
        WHERE m.id = u.id"];
    DELETE_MESSAGES = ["WITH deleted AS (DELETE FROM wxsub_event WHERE message_id = ANY ($1))
        DELETE FROM wxsub_message WHERE id = ANY ($1)"];

    MESSAGE = ["SELECT ", message!(), " FROM wxsub_message WHERE id = $1"];
    LIST = [list!("id > $2", ""), " ORDER BY id LIMIT $3"];
    LIST_NEWEST = [list!("id < $2", ""), " ORDER BY id DESC LIMIT $3"];
    /// Sent messages are most of them, and have no index of their own.
    LIST_SENT = [list!("id > $2", " AND state = 'sent'"), " ORDER BY id LIMIT $3"];
    LIST_NEWEST_SENT = [list!("id < $2", " AND state = 'sent'"), " ORDER BY id DESC LIMIT $3"];
    LIST_STATE = [list!("id > $2", in_state!()), " ORDER BY id LIMIT $3"];
    LIST_NEWEST_STATE = [list!("id < $2", in_state!()), " ORDER BY id DESC LIMIT $3"];
    LIST_UNDECIDED = [list!("id > $2", " AND ", undecided!()), " ORDER BY id LIMIT $3"];
    LIST_NEWEST_UNDECIDED = [list!("id < $2", " AND ", undecided!()), " ORDER BY id DESC LIMIT $3"];
    LIST_USER = [list!("id > $2", of_user!()), " ORDER BY id LIMIT $3"];
    LIST_NEWEST_USER = [list!("id < $2", of_user!()), " ORDER BY id DESC LIMIT $3"];

    /// A history that is ahead of its message, because only some of the tables were restored, stays as it is.
    INSERT_EVENTS = ["INSERT INTO wxsub_event (message_id, version, at_ms, event, attempt, actor, detail)
        SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::text[], $5::integer[], $6::text[], $7::text[])
        ON CONFLICT DO NOTHING"];
    HISTORY = ["SELECT message_id, version, at_ms, event, attempt, actor, detail FROM wxsub_event
        WHERE message_id = $1 ORDER BY version"];
    INSERT_AUDIT = ["INSERT INTO wxsub_audit (at_ms, actor, address, action, appid, subject, detail, outcome)
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])"];
    AUDIT = ["SELECT seq, at_ms, actor, address, action, appid, subject, detail, outcome FROM wxsub_audit
        WHERE seq < $1 ORDER BY seq DESC LIMIT $2"];
    /// Reads the whole table, which has a row for each start of a process in the last days.
    ALL_WORKERS = ["SELECT id, beat_ms, gone_ms FROM wxsub_worker"];
    /// Reads the whole table: once, when a backup is restored.
    LAST_EVENT = ["SELECT max(at_ms) FROM wxsub_event"];

    /// Oldest first. Rows of apps that are not served wait for another process, if the app can be read.
    LOCK_INBOX = ["SELECT id::text, appid::text, left(message::text, $3), send_at_ms, expires_at_ms, priority::text
        FROM wxsub_inbox WHERE error IS NULL AND ", is_ours!(), "
        ORDER BY created_at_ms, wxsub_inbox.id LIMIT $2 FOR UPDATE SKIP LOCKED"];
    DELETE_INBOX = ["DELETE FROM wxsub_inbox WHERE id = ANY ($1::bpchar[])"];
    REJECT_INBOX = ["UPDATE wxsub_inbox AS i SET error = u.error FROM unnest($1::bpchar[], $2::text[]) AS u (id, error)
        WHERE i.id = u.id"];
    /// Gives the number of the rows: they may have been moved and sent after the backup.
    DOUBT_INBOX = ["WITH doubted AS (UPDATE wxsub_inbox SET error = 'the ledger was restored from a backup, and the message may \
        have been sent since: delete the row, or set error to NULL to send it' WHERE error IS NULL RETURNING 1)
        SELECT count(*) FROM doubted"];
    /// Whether there is a row to record, and how many of other apps if there is none.
    INBOX_BACKLOG = ["SELECT ours, CASE WHEN ours THEN 0 ELSE
            (SELECT count(*) FROM (SELECT FROM wxsub_inbox WHERE error IS NULL ORDER BY created_at_ms, id LIMIT $2) AS waiting) END
        FROM (SELECT EXISTS (SELECT FROM wxsub_inbox WHERE error IS NULL AND ", is_ours!(), ") AS ours OFFSET 0) AS looked"];

    LOCK_KEYS = ["SELECT ", key!(), " FROM wxsub_key AS k
        WHERE (k.appid, k.client, k.key) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))
        ORDER BY k.appid, k.client, k.key FOR UPDATE OF k"];
    KNOWN_KEYS = ["SELECT 1 FROM wxsub_key AS k
        WHERE (k.appid, k.client, k.key) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))"];
    INSERT_KEYS = ["INSERT INTO wxsub_key (", key!(), ")
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::uuid[], $6::bigint[])"];
    UPDATE_KEYS = ["UPDATE wxsub_key AS k SET fingerprint = u.fingerprint, message_id = u.message_id, check_ms = u.check_ms
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::uuid[], $6::bigint[])
        AS u (appid, client, key, fingerprint, message_id, check_ms)
        WHERE k.appid = u.appid AND k.client = u.client AND k.key = u.key"];
    KEYS_TO_CHECK = ["SELECT ", key!(), " FROM wxsub_key WHERE check_ms <= $1 ORDER BY check_ms LIMIT $2 FOR UPDATE SKIP LOCKED"];
    /// Replaces all endpoints.
    SET_ENDPOINTS = ["WITH deleted AS (DELETE FROM wxsub_webhook_endpoint WHERE name <> ALL ($1)),
        put AS (INSERT INTO wxsub_webhook_endpoint (", endpoint!(), ")
            SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::boolean[], $6::bigint[])
            ON CONFLICT (name) DO UPDATE SET url_sha256 = excluded.url_sha256, apps = excluded.apps, events = excluded.events,
                with_openid = excluded.with_openid, disabled_ms = excluded.disabled_ms)
        SELECT 1"];
    ENDPOINT_STATUSES = ["SELECT ", endpoint!(), ",
            (SELECT due_ms FROM wxsub_webhook_delivery
                WHERE endpoint = name AND due_ms IS NOT NULL AND due_ms <= coalesce($1::bigint, ", now!(), ")
                ORDER BY due_ms LIMIT 1),
            (SELECT count(*) FROM (SELECT 1 FROM wxsub_webhook_delivery
                WHERE endpoint = name AND due_ms IS NOT NULL LIMIT $2) AS pending),
            (SELECT count(*) FROM (SELECT 1 FROM wxsub_webhook_delivery
                WHERE endpoint = name AND due_ms IS NULL LIMIT $2) AS dead)
        FROM wxsub_webhook_endpoint ORDER BY name"];
    LOCK_DELIVERIES = ["SELECT ", delivery!(), " FROM wxsub_webhook_delivery
        WHERE (endpoint, message_id, sequence) IN (SELECT * FROM unnest($1::text[], $2::uuid[], $3::integer[]))
        ORDER BY endpoint, message_id, sequence FOR UPDATE"];
    DUE_DELIVERIES = ["SELECT ", delivery!(), " FROM wxsub_webhook_delivery
        WHERE endpoint = $1 AND due_ms IS NOT NULL AND due_ms <= $2 ORDER BY due_ms LIMIT $3 FOR UPDATE SKIP LOCKED"];
    /// In order of time, but not by the index of all deliveries: few of them failed.
    FAILED_DELIVERIES = ["SELECT ", delivery!(), " FROM wxsub_webhook_delivery
        WHERE endpoint = $1 AND error IS NOT NULL AND (created_ms + 0, message_id, sequence) > ($2, $3, $4)
        ORDER BY created_ms + 0, message_id, sequence LIMIT $5"];
    LOCK_OLD_DELIVERIES = ["SELECT ", delivery!(), " FROM wxsub_webhook_delivery
        WHERE created_ms <= $1 ORDER BY created_ms LIMIT $2 FOR UPDATE SKIP LOCKED"];
    DELIVERIES_WAITING_TOO_LONG = ["SELECT ", delivery!(), " FROM wxsub_webhook_delivery
        WHERE due_ms IS NOT NULL AND due_ms > $1 LIMIT $2 FOR UPDATE SKIP LOCKED"];
    PUT_DELIVERIES = ["INSERT INTO wxsub_webhook_delivery (", delivery!(), ")
        SELECT * FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::bigint[], $7::integer[], \
        $8::bigint[], $9::text[])
        ON CONFLICT (endpoint, message_id, sequence)
        DO UPDATE SET attempt = excluded.attempt, due_ms = excluded.due_ms, error = excluded.error"];
    DELETE_DELIVERIES = ["DELETE FROM wxsub_webhook_delivery AS d
        USING unnest($1::text[], $2::uuid[], $3::integer[]) AS u (endpoint, message_id, sequence)
        WHERE d.endpoint = u.endpoint AND d.message_id = u.message_id AND d.sequence = u.sequence"];
    KEYS_OF = ["SELECT ", key!(), " FROM wxsub_key
        WHERE appid = $1 AND client = $2 AND key > $3 ORDER BY key LIMIT $4 FOR UPDATE"];
    DELETE_KEYS = ["DELETE FROM wxsub_key AS k USING unnest($1::text[], $2::text[], $3::text[]) AS d (appid, client, key)
        WHERE k.appid = d.appid AND k.client = d.client AND k.key = d.key"];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PostgresLedger, PostgresOptions};
    use wxsub_test_support::Postgres;

    /// The statements that have a plan, and do not read a whole table on purpose.
    fn planned() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        ALL.iter().filter(|(name, _)| {
            !["ALL_APPS", "ALL_WORKERS", "BEGIN", "LISTEN", "LAST_EVENT", "LOCK_ENDPOINTS", "SET_ENDPOINTS"]
                .contains(name)
        })
    }

    /// What PostgreSQL would do with any values, one step a line.
    async fn plan(client: &tokio_postgres::Client, sql: &str) -> Vec<String> {
        let parameters = client.prepare(sql).await.unwrap().params().len();
        client.batch_execute(&format!("PREPARE explained AS {sql}")).await.unwrap();
        let values = vec!["NULL"; parameters].join(", ");
        let values = if parameters == 0 { String::new() } else { format!("({values})") };
        let steps = client.query(&format!("EXPLAIN EXECUTE explained{values}"), &[]).await.unwrap();
        client.batch_execute("DEALLOCATE explained").await.unwrap();
        steps.iter().map(|row| row.get(0)).collect()
    }

    /// Indexes that hold only what is about to be done, such as the queued messages. They may be read as a whole.
    const SMALL: [&str; 9] = [
        "wxsub_webhook_endpoint_pkey",
        "wxsub_message_expires",
        "wxsub_message_due",
        "wxsub_message_attempting",
        "wxsub_message_undecided",
        "wxsub_grant_unfinished",
        "wxsub_grant_spent",
        "wxsub_inbox_waiting",
        "wxsub_webhook_due",
    ];

    const FEW_ROWS: &str = "INSERT INTO wxsub_grant (id, appid, openid, template_id, scene, state, consented_ms, callback_expires_ms)
        SELECT gen_random_uuid(), 'wx1', 'o' || n, 'T', 7, 'open', 1, 1 FROM generate_series(1, 20) AS n;
        INSERT INTO wxsub_message (id, appid, mode, touser, template_id, scene, priority, created_ms, send_ms, expires_ms,
            state, attempt, failures, version, due_ms)
        SELECT gen_random_uuid(), 'wx1', 'queued', 'o', 'T', 7, 'normal', 1, 1, 1, 'queued', 0, 0, 1, 1
        FROM generate_series(1, 20) AS n;
        INSERT INTO wxsub_key (appid, client, key, fingerprint, message_id, check_ms)
        SELECT 'wx1', '', id::text, '', id, 1 FROM wxsub_message;
        ANALYZE wxsub_grant, wxsub_message, wxsub_key";

    /// Most messages are sent, most grants used.
    const MANY_ROWS: &str = "INSERT INTO wxsub_grant (id, appid, openid, template_id, scene, state, consented_ms, callback_expires_ms)
        SELECT gen_random_uuid(), 'wx1', 'm' || n, 'T', 7, 'used', n, n FROM generate_series(1, 120000) AS n;
        INSERT INTO wxsub_worker (id, beat_ms) SELECT gen_random_uuid(), 1 FROM generate_series(1, 20);
        INSERT INTO wxsub_message (id, appid, mode, touser, template_id, scene, priority, created_ms, send_ms, expires_ms,
            state, attempt, failures, version, due_ms, settled_ms, grant_id, worker)
        SELECT gen_random_uuid(), 'wx1', 'queued', openid, 'T', 7, 'normal', 1, 1, 1,
            CASE seq % 1000 WHEN 1 THEN 'refused' WHEN 2 THEN 'attempting' WHEN 3 THEN 'maybe_sent' WHEN 4 THEN 'queued'
                ELSE 'sent' END,
            1, 0, 3, 1, consented_ms, id, (SELECT id FROM wxsub_worker LIMIT 1)
        FROM wxsub_grant WHERE state = 'used';
        INSERT INTO wxsub_event (message_id, version, at_ms, event, attempt)
        SELECT id, version, 1, 'event', 1 FROM wxsub_message;
        INSERT INTO wxsub_nonce SELECT gen_random_uuid(), id FROM wxsub_grant;
        INSERT INTO wxsub_inbox (id, appid, message) SELECT gen_random_uuid(), 'wx1', '{}' FROM generate_series(1, 20000);
        INSERT INTO wxsub_webhook_delivery
        SELECT 'e' || n % 5, gen_random_uuid(), n, 'message.sent', '{}', n, 1, CASE n % 10 WHEN 0 THEN NULL ELSE n END,
            CASE n % 10 WHEN 0 THEN 'error' END
        FROM generate_series(1, 20000) AS n;
        ANALYZE";

    /// For each statement that reads a table: the indexes of its plan, as a row of the document.
    async fn rows_of_document(client: &tokio_postgres::Client) -> Vec<String> {
        let mut rows = Vec::new();
        for (name, sql) in planned() {
            let mut indexes = Vec::new();
            for step in plan(client, sql).await {
                let words: Vec<_> = step.split_whitespace().collect();
                let index = words.windows(2).find_map(|pair| match pair {
                    ["using", index] => Some(*index),
                    ["on", index] if step.contains("Bitmap Index Scan") => Some(*index),
                    _ => None,
                });
                indexes.extend(index.map(|index| format!("`{index}`")));
            }
            indexes.sort();
            indexes.dedup();
            if !indexes.is_empty() {
                rows.push(format!("| `{}` | {} |", name.to_lowercase(), indexes.join(", ")));
            }
        }
        rows
    }

    /// The statements that read a whole table, or a whole index of it, with their plans.
    async fn slow(client: &tokio_postgres::Client) -> Vec<String> {
        let mut slow = Vec::new();
        for (name, sql) in planned() {
            let steps = plan(client, sql).await;
            let reads_all = |at: usize, step: &str| {
                let mut conditions = steps.iter().skip(at + 1).take_while(|step| !step.contains("->"));
                step.contains("Index")
                    && step.contains(" Scan ")
                    && !conditions.any(|step| step.contains("Index Cond"))
                    && !SMALL.iter().any(|index| step.contains(index))
            };
            if steps.iter().enumerate().any(|(at, step)| step.contains("Seq Scan") || reads_all(at, step)) {
                slow.push(format!("{name}:\n{}", steps.join("\n")));
            }
        }
        slow
    }

    /// The statements that sort more rows than they give: a limit does not limit what a sort reads.
    async fn sorting(client: &tokio_postgres::Client) -> Vec<String> {
        let mut sorting = Vec::new();
        for (name, sql) in planned() {
            let steps = plan(client, sql).await;
            let is_limited = steps.first().is_some_and(|step| step.starts_with("Limit "));
            let sorts = steps.iter().any(|step| step.contains("->  Sort "));
            let is_small = steps.iter().any(|step| SMALL.iter().any(|index| step.contains(index)));
            if is_limited && sorts && !is_small {
                sorting.push(format!("{name}:\n{}", steps.join("\n")));
            }
        }
        sorting
    }

    #[tokio::test]
    #[ignore = "needs postgresql: scripts/test runs it"]
    async fn every_statement_uses_an_index() {
        let postgres = Postgres::start();
        drop(PostgresLedger::connect(PostgresOptions::new(postgres.url())).await.unwrap());
        let client = postgres.sql().await;
        client.batch_execute(crate::connection::SETTINGS).await.unwrap();
        assert_eq!(slow(&client).await, [""; 0]);
        // Few rows could be read as a whole. The plan is kept while they become many.
        client.batch_execute(FEW_ROWS).await.unwrap();
        assert_eq!(slow(&client).await, [""; 0]);
        client.batch_execute(MANY_ROWS).await.unwrap();
        assert_eq!(slow(&client).await, [""; 0]);
        assert_eq!(sorting(&client).await, [""; 0]);
        let rows = rows_of_document(&client).await.join("\n");
        let document = include_str!("../../../docs/postgres-queries.md");
        assert!(document.contains(&rows), "the table of docs/postgres-queries.md must be:\n{rows}");
        // With an index in another order, the failed deliveries are sorted.
        let other_order = "DROP INDEX wxsub_webhook_failed;
            CREATE INDEX ON wxsub_webhook_delivery (endpoint, created_ms) WHERE error IS NOT NULL";
        client.batch_execute(other_order).await.unwrap();
        let found = sorting(&client).await;
        assert!(found.iter().any(|plan| plan.starts_with("FAILED_DELIVERIES")), "{found:#?}");
        // Without an index, its statements are found.
        client.batch_execute("DROP INDEX wxsub_grant_user").await.unwrap();
        let found = slow(&client).await;
        for name in ["GRANTS_OF_USER", "LOCK_GRANTS"] {
            assert!(found.iter().any(|plan| plan.starts_with(name)), "{name}: {found:#?}");
        }
    }
}
