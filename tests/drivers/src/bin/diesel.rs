use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{Connection, PgConnection, RunQueryDsl, sql_query};
use wxsub_core::proto::AppId;
use wxsub_outbox::{OutboxMessage, id::MessageId, inbox};

fn pay(
    db: &mut PgConnection,
    id: MessageId,
    appid: &AppId,
    message: OutboxMessage,
) -> diesel::QueryResult<()> {
    let row = message.inbox_row(id, appid);
    db.transaction(|order| {
        sql_query("UPDATE orders SET state = 'paid' WHERE id = 4711").execute(order)?;
        sql_query(inbox::POSTGRES_INSERT)
            .bind::<Text, _>(row.id)
            .bind::<Text, _>(row.appid)
            .bind::<Text, _>(row.message)
            .bind::<Nullable<BigInt>, _>(row.send_at_ms)
            .bind::<Nullable<BigInt>, _>(row.expires_at_ms)
            .bind::<Text, _>(row.priority)
            .execute(order)?;
        Ok(())
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut db = PgConnection::establish(&std::env::var("DATABASE_URL")?)?;
    let (id, appid, message) = wxsub_drivers::message()?;
    Ok(pay(&mut db, id, &appid, message)?)
}
