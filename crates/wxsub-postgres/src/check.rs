//! Looks for rows that contradict each other.

use tokio_postgres::Error;

use crate::session::Session;

/// How many problems of one kind a check names.
const MAX_PROBLEMS: u32 = 100;

/// Rows that contradict each other. Each query gives one line for each problem, and reads whole tables.
const CONTRADICTIONS: [&str; 5] = [
    "SELECT format('app %s: the count of its %s messages is %s, a recount gives %s',
                   appid, state, coalesce(sum(counted), 0), coalesce(sum(found), 0))
     FROM (SELECT appid, state, messages AS counted, NULL AS found FROM wxsub_count
           UNION ALL SELECT appid, state, NULL, count(*) FROM wxsub_message GROUP BY appid, state
           UNION ALL SELECT appid, 'undecided', NULL, count(*) FROM wxsub_message
               WHERE state = 'maybe_sent' AND decision IS NULL GROUP BY appid) AS both_counts
     GROUP BY appid, state HAVING coalesce(sum(counted), 0) <> coalesce(sum(found), 0)",
    "SELECT format('message %s: its version is %s, and its history ends with %s', id, version, coalesce(last, 0))
     FROM (SELECT id, version, (SELECT max(e.version) FROM wxsub_event AS e WHERE e.message_id = m.id) AS last
           FROM wxsub_message AS m) AS histories
     WHERE version IS DISTINCT FROM last",
    "SELECT DISTINCT 'wxsub_event: a row refers to one of wxsub_message that is missing'
     FROM wxsub_event AS e WHERE NOT EXISTS (SELECT 1 FROM wxsub_message AS m WHERE m.id = e.message_id)",
    "SELECT format('message %s: its grant %s is missing', id, grant_id) FROM wxsub_message AS m
     WHERE grant_id IS NOT NULL AND state IN ('queued', 'attempting')
       AND NOT EXISTS (SELECT 1 FROM wxsub_grant AS g WHERE g.id = m.grant_id)",
    "SELECT format('index %s is not valid; run REINDEX INDEX %s', c.relname, c.relname)
     FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
     WHERE NOT i.indisvalid AND c.relname LIKE 'wxsub\\_%'",
];

/// One line for each problem, all as of one moment.
pub(crate) async fn problems(session: &Session) -> Result<Vec<String>, Error> {
    session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let problems = contradictions(session).await?;
    session.batch("COMMIT").await?;
    Ok(problems)
}

/// The same within the open transaction.
pub(crate) async fn contradictions(session: &Session) -> Result<Vec<String>, Error> {
    // It reads whole tables.
    session
        .batch(
            "SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on",
        )
        .await?;
    let mut problems = Vec::new();
    for query in CONTRADICTIONS {
        let found = session.query_without_timeout(&format!("{query} LIMIT {MAX_PROBLEMS}")).await?;
        problems.extend(found.iter().map(|row| row.get::<_, String>(0)));
    }
    Ok(problems)
}
