//! All statements. A test checks that each of them uses an index.

use wxsub_outbox::{statements, texts};

texts! {
    /// The columns of `wxsub_message` in the order in which they are written: the id, the 20 that change, and those that never do.
    columns = "id, state, reason, attempt, failures, version, due_ms, attempted_ms, settled_ms, worker, stage, errcode, errmsg, \
     rid, remedy, decision, decided_by, decided_note, decided_ms, child_id, restored_ms, \
     appid, mode, touser, template_id, scene, priority, created_ms, send_ms, expires_ms, idempotency_key, grant_id, \
     parent_id";
    /// What is read of a message.
    message = concat!(columns!(), ", (SELECT body FROM wxsub_body WHERE message_id = id)");
    in_state = " AND state = ?4 AND state <> 'sent' AND state <> 'attempting'";
    undecided = "state = 'maybe_sent' AND decision IS NULL";
    of_user = concat!(" AND touser = ?4 AND (?5 IS NULL OR state = ?5) AND (NOT ?6 OR ", undecided!(), ")");
    grant = "id, appid, openid, template_id, scene, state, consented_ms, callback_expires_ms";
    /// Grants behind the one with this id. If it was deleted, behind the one before it.
    behind = "seq > coalesce((SELECT seq FROM wxsub_grant WHERE id <= ?2 ORDER BY id DESC LIMIT 1), 0)";
    key = "appid, client, key, fingerprint, message_id, check_ms";
    endpoint = "name, url_sha256, apps, events, with_openid, disabled_ms";
    delivery = "endpoint, message_id, sequence, event, body, created_ms, attempt, due_ms, error";
    pauses = "paused_by, paused_note, paused_ms, minute_quota_until_ms, daily_quota_until_ms, daily_quota_probe_ms, \
     daily_quota_probe, token_until_ms, token_failures";
}

/// Messages of an app that meet these conditions.
macro_rules! list {
    ($behind:expr, $($condition:expr),+) => {
        concat!("SELECT ", message!(), " FROM wxsub_message WHERE appid = ?1 AND ", $behind, $($condition),+)
    };
}

/// The table `app`: each app that has messages with this predicate of an index; at last NULL.
macro_rules! next_app {
    ($predicate:literal) => {
        concat!(
            "WITH RECURSIVE app (appid) AS (
                SELECT min(appid) FROM wxsub_message WHERE ",
            $predicate,
            " UNION ALL
                SELECT (SELECT min(appid) FROM wxsub_message AS m WHERE ",
            $predicate,
            " AND m.appid > app.appid)
                FROM app WHERE app.appid IS NOT NULL)"
        )
    };
}

/// Whether an app has a due message of a priority.
macro_rules! has_due {
    ($priority:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM wxsub_message AS m
             WHERE m.state = 'queued' AND m.appid = app.appid AND m.priority = '",
            $priority,
            "' AND m.due_ms <= ?1 AND m.expires_ms > ?1)"
        )
    };
}

statements! {
    WORKER = ["SELECT id, beat_ms, gone_ms FROM wxsub_worker WHERE id = ?1"];
    PUT_WORKER = ["INSERT INTO wxsub_worker (id, beat_ms, gone_ms) VALUES (?1, ?2, ?3)
        ON CONFLICT (id) DO UPDATE SET beat_ms = excluded.beat_ms, gone_ms = excluded.gone_ms"];
    LIVE_WORKERS = ["SELECT id, beat_ms, gone_ms FROM wxsub_worker WHERE gone_ms IS NULL"];
    DELETE_GONE_WORKERS = ["DELETE FROM wxsub_worker WHERE gone_ms <= ?1"];

    APP = ["SELECT ", pauses!(), ", undecided FROM wxsub_app WHERE appid = ?1"];
    PUT_APP = ["INSERT OR REPLACE INTO wxsub_app (", pauses!(), ", undecided, appid)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"];
    COUNTS = ["SELECT state, messages FROM wxsub_count WHERE appid = ?1"];
    PUT_COUNT = ["INSERT OR REPLACE INTO wxsub_count (appid, state, messages) VALUES (?1, ?2, ?3)"];
    DELETE_COUNT = ["DELETE FROM wxsub_count WHERE appid = ?1 AND state = ?2"];

    GRANT = ["SELECT ", grant!(), " FROM wxsub_grant WHERE id = ?1"];
    NEWEST_GRANT = ["SELECT ", grant!(), " FROM wxsub_grant
        WHERE openid = ?2 AND appid = ?1 AND template_id = ?3 AND scene = ?4 ORDER BY seq DESC LIMIT 1"];
    GRANTS_OF_USER = ["SELECT ", grant!(), " FROM wxsub_grant WHERE openid = ?1 AND appid = ?2 ORDER BY seq"];
    USED_GRANTS = ["SELECT ", grant!(), " FROM wxsub_grant
        WHERE appid = ?1 AND state = 'used' AND ", behind!(), " ORDER BY seq LIMIT ?3"];
    GRANTS_IN_STATE = ["SELECT ", grant!(), " FROM wxsub_grant
        WHERE appid = ?1 AND state = ?4 AND state <> 'used' AND ", behind!(), " ORDER BY seq LIMIT ?3"];
    BATCHES = ["SELECT DISTINCT client FROM wxsub_key
        WHERE appid = ?1 AND client > 'batch:' AND client < 'batch;' ORDER BY client LIMIT ?2"];
    UPDATE_GRANT = ["UPDATE wxsub_grant SET state = ?2, callback_expires_ms = ?3 WHERE id = ?1"];
    INSERT_GRANT = ["INSERT INTO wxsub_grant (", grant!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"];
    DOUBT_GRANTS = ["UPDATE wxsub_grant SET state = 'in_doubt'
        WHERE state <> 'used' AND state IN ('open', 'reserved', 'attempting')"];
    SPENT_GRANTS = ["SELECT id FROM wxsub_grant AS spent
        WHERE (state = 'used' OR state = 'void') AND consented_ms <= ?1 AND callback_expires_ms <= ?2
          AND NOT EXISTS (
              SELECT 1 FROM wxsub_grant AS older
              WHERE older.openid = spent.openid AND older.appid = spent.appid
                AND older.template_id = spent.template_id AND older.scene = spent.scene
                AND older.seq < spent.seq AND older.state NOT IN ('used', 'void'))
        ORDER BY consented_ms LIMIT ?3"];
    DELETE_GRANT = ["DELETE FROM wxsub_grant WHERE id = ?1"];
    NONCE = ["SELECT grant_id FROM wxsub_nonce WHERE nonce = ?1"];
    PUT_NONCE = ["INSERT INTO wxsub_nonce (nonce, grant_id) VALUES (?1, ?2)"];

    NEWEST_MESSAGE = ["SELECT id FROM wxsub_message WHERE id > x'' ORDER BY id DESC LIMIT 1"];
    MESSAGE = ["SELECT ", message!(), " FROM wxsub_message WHERE id = ?1"];
    /// The parameters are the id and the columns that change.
    UPDATE_MESSAGE = ["UPDATE wxsub_message SET state = ?2, reason = ?3, attempt = ?4, failures = ?5, version = ?6, due_ms = ?7, \
        attempted_ms = ?8, settled_ms = ?9, worker = ?10, stage = ?11, errcode = ?12, errmsg = ?13, rid = ?14, remedy = ?15, \
        decision = ?16, decided_by = ?17, decided_note = ?18, decided_ms = ?19, child_id = ?20, restored_ms = ?21 \
        WHERE id = ?1"];
    /// The parameters are the id, the columns that change and those that never do.
    INSERT_MESSAGE = ["INSERT INTO wxsub_message (", columns!(), ")
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, \
        ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33)"];
    INSERT_BODY = ["INSERT INTO wxsub_body (message_id, body) VALUES (?1, ?2)"];
    DELETE_BODY = ["DELETE FROM wxsub_body WHERE message_id = ?1"];
    HOLDER = ["SELECT id FROM wxsub_message
        WHERE grant_id = ?1 AND grant_id IS NOT NULL
          AND (state = 'queued' OR state = 'attempting' OR state = 'sent'
               OR state = 'maybe_sent' AND (decision IS NULL OR decision = 'assume_sent'))"];
    DUE = ["SELECT id FROM wxsub_message
        WHERE state = 'queued' AND appid = ?1 AND priority = ?2 AND due_ms <= ?3 AND expires_ms > ?3
        ORDER BY due_ms, id"];
    /// Apps with queued messages, one index entry each, and of those the ones with a due message.
    DUE_APPS = [next_app!("state = 'queued'"), "
        SELECT ", pauses!(), ", app.appid FROM app LEFT JOIN wxsub_app USING (appid)
        WHERE app.appid IS NOT NULL AND (", has_due!("high"), " OR ", has_due!("normal"), " OR ", has_due!("low"), ")"];
    FIRST_DUE = ["SELECT min(due_ms) FROM wxsub_message WHERE state = 'queued' AND appid = ?1 AND priority = ?2"];
    UNDECIDED_APPS = [next_app!("state = 'maybe_sent' AND decision IS NULL"), "
        SELECT appid FROM app WHERE appid IS NOT NULL"];
    EXPIRED = ["SELECT ", message!(), " FROM wxsub_message
        WHERE state = 'queued' AND expires_ms <= ?1 ORDER BY expires_ms, id LIMIT ?2"];
    ATTEMPTS_OF = ["SELECT ", message!(), " FROM wxsub_message WHERE state = 'attempting' AND worker = ?1"];
    ATTEMPTS_OF_GONE_WORKERS = ["SELECT ", message!(), " FROM wxsub_message
        WHERE state = 'attempting'
          AND NOT EXISTS (SELECT 1 FROM wxsub_worker AS w WHERE w.id = worker AND w.gone_ms IS NULL)
        LIMIT ?1"];
    DECIDABLE = ["SELECT ", message!(), " FROM wxsub_message
        WHERE state = 'maybe_sent' AND decision IS NULL AND appid = ?1
          AND CASE WHEN restored_ms IS NULL THEN attempted_ms IS NULL OR attempted_ms NOT BETWEEN ?4 AND ?5
              ELSE restored_ms NOT BETWEEN ?2 AND ?3 END
        ORDER BY id LIMIT ?6"];
    QUEUED = ["SELECT ", message!(), " FROM wxsub_message WHERE state = 'queued' LIMIT ?1"];
    ATTEMPTING = ["SELECT ", message!(), " FROM wxsub_message WHERE state = 'attempting' LIMIT ?1"];
    UNDECIDED = ["SELECT ", message!(), " FROM wxsub_message
        WHERE state = 'maybe_sent' AND decision IS NULL AND (appid, id) > (?1, ?2) ORDER BY appid, id LIMIT ?3"];
    /// As [`StoredMessage::waits_too_long`](wxsub_outbox::message::StoredMessage::waits_too_long).
    WAITING_TOO_LONG = ["SELECT ", message!(), " FROM wxsub_message
        WHERE state = 'queued' AND due_ms > ?1 AND (due_ms <> send_ms OR send_ms = created_ms) LIMIT ?2"];
    SETTLED = ["SELECT ", message!(), " FROM wxsub_message
        WHERE (state = 'sent' OR state = 'refused' OR state = 'not_sent' OR state = 'cancelled')
          AND state = ?1 AND settled_ms <= ?2
          AND NOT EXISTS (SELECT 1 FROM wxsub_key WHERE message_id = id)
        ORDER BY settled_ms LIMIT ?3"];
    DECIDED = ["SELECT ", message!(), " FROM wxsub_message
        WHERE state = 'maybe_sent' AND decision IS NOT NULL AND decided_ms <= ?1
          AND NOT EXISTS (SELECT 1 FROM wxsub_key WHERE message_id = id)
        ORDER BY decided_ms LIMIT ?2"];
    DELETE_MESSAGE = ["DELETE FROM wxsub_message WHERE id = ?1"];

    LIST = [list!("id > ?2", ""), " ORDER BY id LIMIT ?3"];
    LIST_NEWEST = [list!("id < ?2", ""), " ORDER BY id DESC LIMIT ?3"];
    LIST_SENT = [list!("id > ?2", " AND state = 'sent'"), " ORDER BY id LIMIT ?3"];
    LIST_NEWEST_SENT = [list!("id < ?2", " AND state = 'sent'"), " ORDER BY id DESC LIMIT ?3"];
    LIST_STATE = [list!("id > ?2", in_state!()), " ORDER BY id LIMIT ?3"];
    LIST_NEWEST_STATE = [list!("id < ?2", in_state!()), " ORDER BY id DESC LIMIT ?3"];
    LIST_ATTEMPTING = [list!("id > ?2", " AND state = 'attempting'"), " ORDER BY id LIMIT ?3"];
    LIST_NEWEST_ATTEMPTING = [list!("id < ?2", " AND state = 'attempting'"), " ORDER BY id DESC LIMIT ?3"];
    LIST_UNDECIDED = [list!("id > ?2", " AND ", undecided!()), " ORDER BY id LIMIT ?3"];
    LIST_NEWEST_UNDECIDED = [list!("id < ?2", " AND ", undecided!()), " ORDER BY id DESC LIMIT ?3"];
    LIST_USER = [list!("id > ?2", of_user!()), " ORDER BY id LIMIT ?3"];
    LIST_NEWEST_USER = [list!("id < ?2", of_user!()), " ORDER BY id DESC LIMIT ?3"];

    /// A history that is ahead of its message, because only some of the tables were restored, stays as it is.
    APPEND_EVENT = ["INSERT INTO wxsub_event (message_id, version, at_ms, event, attempt, actor, detail)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING"];
    HISTORY = ["SELECT message_id, version, at_ms, event, attempt, actor, detail FROM wxsub_event
        WHERE message_id = ?1 ORDER BY version"];
    APPEND_AUDIT = ["INSERT INTO wxsub_audit (at_ms, actor, address, action, appid, subject, detail, outcome)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"];
    AUDIT = ["SELECT seq, at_ms, actor, address, action, appid, subject, detail, outcome FROM wxsub_audit
        WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2"];
    /// Reads the whole table, which has a row for each start of a process in the last days.
    ALL_WORKERS = ["SELECT id, beat_ms, gone_ms FROM wxsub_worker"];
    /// Reads the whole table: once, when a backup is restored.
    LAST_EVENT = ["SELECT max(at_ms) FROM wxsub_event"];

    MOVE_GRANTS = ["SELECT ", grant!(), ", seq FROM wxsub_grant WHERE seq > ?1 ORDER BY seq LIMIT ?2"];
    NONCES_OF = ["SELECT nonce FROM wxsub_nonce WHERE grant_id = ?1"];
    MOVE_MESSAGES = ["SELECT ", message!(), " FROM wxsub_message WHERE id > ?1 ORDER BY id LIMIT ?2"];
    KEYS_OF_MESSAGE = ["SELECT ", key!(), " FROM wxsub_key WHERE message_id = ?1"];
    MOVE_DELIVERIES = ["SELECT ", delivery!(), " FROM wxsub_webhook_delivery
        WHERE (endpoint, message_id, sequence) > (?1, ?2, ?3) ORDER BY endpoint, message_id, sequence LIMIT ?4"];
    MOVE_AUDIT = ["SELECT seq, at_ms, actor, address, action, appid, subject, detail, outcome FROM wxsub_audit
        WHERE seq > ?1 ORDER BY seq LIMIT ?2"];
    APPS = ["SELECT appid FROM wxsub_app WHERE appid > '' ORDER BY appid"];

    KEY = ["SELECT ", key!(), " FROM wxsub_key WHERE appid = ?1 AND client = ?2 AND key = ?3"];
    PUT_KEY = ["INSERT OR REPLACE INTO wxsub_key (", key!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6)"];
    KEYS_TO_CHECK = ["SELECT ", key!(), " FROM wxsub_key WHERE check_ms <= ?1 ORDER BY check_ms LIMIT ?2"];
    KEYS_OF = ["SELECT ", key!(), " FROM wxsub_key WHERE appid = ?1 AND client = ?2 AND key > ?3 ORDER BY key LIMIT ?4"];
    DELETE_KEY = ["DELETE FROM wxsub_key WHERE appid = ?1 AND client = ?2 AND key = ?3"];

    ENDPOINTS = ["SELECT ", endpoint!(), " FROM wxsub_webhook_endpoint ORDER BY name"];
    DELETE_ENDPOINTS = ["DELETE FROM wxsub_webhook_endpoint"];
    INSERT_ENDPOINT = ["INSERT INTO wxsub_webhook_endpoint (", endpoint!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6)"];
    ENDPOINT_STATUSES = ["SELECT ", endpoint!(), ",
            (SELECT due_ms FROM wxsub_webhook_delivery
                WHERE endpoint = name AND due_ms <= ?1 AND due_ms IS NOT NULL ORDER BY due_ms LIMIT 1),
            (SELECT count(*) FROM (SELECT 1 FROM wxsub_webhook_delivery
                WHERE endpoint = name AND due_ms IS NOT NULL LIMIT ?2)),
            (SELECT count(*) FROM (SELECT 1 FROM wxsub_webhook_delivery INDEXED BY wxsub_webhook_dead
                WHERE endpoint = name AND due_ms IS NULL LIMIT ?2))
        FROM wxsub_webhook_endpoint ORDER BY name"];
    DELIVERY = ["SELECT ", delivery!(), " FROM wxsub_webhook_delivery
        WHERE endpoint = ?1 AND message_id = ?2 AND sequence = ?3"];
    PUT_DELIVERY = ["INSERT OR REPLACE INTO wxsub_webhook_delivery (", delivery!(), ")
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"];
    DELETE_DELIVERY = ["DELETE FROM wxsub_webhook_delivery WHERE endpoint = ?1 AND message_id = ?2 AND sequence = ?3"];
    DUE_DELIVERIES = ["SELECT ", delivery!(), " FROM wxsub_webhook_delivery
        WHERE endpoint = ?1 AND due_ms <= ?2 AND due_ms IS NOT NULL ORDER BY due_ms LIMIT ?3"];
    FAILED_DELIVERIES = ["SELECT ", delivery!(), " FROM wxsub_webhook_delivery
        WHERE endpoint = ?1 AND error IS NOT NULL AND (created_ms, message_id, sequence) > (?2, ?3, ?4)
        ORDER BY created_ms, message_id, sequence LIMIT ?5"];
    DELIVERIES_WAITING_TOO_LONG = ["SELECT ", delivery!(), " FROM wxsub_webhook_delivery
        WHERE due_ms > ?1 AND due_ms IS NOT NULL LIMIT ?2"];
    OLD_DELIVERIES = ["SELECT endpoint, message_id, sequence FROM wxsub_webhook_delivery
        WHERE created_ms <= ?1 ORDER BY created_ms LIMIT ?2"];
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, StatementStatus};
    use wxsub_core::clock::UnixMillis;

    use super::*;
    use crate::{connection, schema};

    /// What SQLite would do, one step a line.
    fn plan(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        for parameter in 1..=statement.parameter_count() {
            statement.raw_bind_parameter(parameter, 1).unwrap();
        }
        let mut rows = statement.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get(3).unwrap());
        }
        steps
    }

    fn migrated() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = connection::open_writer(&folder.path().join("ledger.db")).unwrap();
        schema::migrate(&mut connection, 0, UnixMillis::new(1)).unwrap();
        (folder, connection)
    }

    /// Planning takes longer than the statement itself.
    #[test]
    fn no_statement_is_planned_again_for_other_values() {
        let (_folder, connection) = migrated();
        for (name, sql) in ALL.iter().filter(|(_, sql)| sql.starts_with("SELECT")) {
            let mut statement = connection.prepare(sql).unwrap();
            for value in [1, 2] {
                for parameter in 1..=statement.parameter_count() {
                    statement.raw_bind_parameter(parameter, value).unwrap();
                }
                statement.raw_query().next().unwrap();
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{name}");
        }
    }

    /// A scan of a partial index reads only what it is about, such as the queued messages. `app` is a table of the statement.
    #[test]
    fn every_statement_uses_an_index() {
        let (_folder, connection) = migrated();
        let partial = [
            "message_expires",
            "message_due",
            "message_attempting",
            "message_undecided",
            "grant_state",
            "webhook_due",
        ];
        let mut slow = Vec::new();
        for (name, sql) in ALL.iter().filter(|(name, _)| *name != "ALL_WORKERS") {
            for step in plan(&connection, sql) {
                let scans = step.starts_with("SCAN")
                    && step != "SCAN app"
                    && !step.contains("wxsub_webhook_endpoint")
                    && !step.starts_with("SCAN (subquery")
                    && !partial.iter().any(|index| step.contains(&format!("wxsub_{index}")));
                if scans || step.contains("TEMP B-TREE") {
                    slow.push(format!("{name}: {step}"));
                }
            }
        }
        assert!(slow.is_empty(), "{slow:#?}");
    }
}
