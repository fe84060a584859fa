use wxsub_core::proto::AppId;
use wxsub_outbox::{OutboxMessage, id::MessageId, inbox};

async fn pay(
    db: &mut tokio_postgres::Client,
    id: MessageId,
    appid: &AppId,
    message: OutboxMessage,
) -> Result<(), tokio_postgres::Error> {
    let row = message.inbox_row(id, appid);
    let order = db.transaction().await?;
    order.execute("UPDATE orders SET state = 'paid' WHERE id = 4711", &[]).await?;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&row.id, &row.appid, &row.message, &row.send_at_ms, &row.expires_at_ms, &row.priority];
    order.execute(inbox::POSTGRES_INSERT, &values).await?;
    order.commit().await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut db, connection) =
        tokio_postgres::connect(&std::env::var("DATABASE_URL")?, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let (id, appid, message) = wxsub_drivers::message()?;
    Ok(pay(&mut db, id, &appid, message).await?)
}
