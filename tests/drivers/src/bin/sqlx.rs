use sqlx::{PgPool, query};
use wxsub_core::proto::AppId;
use wxsub_outbox::{OutboxMessage, id::MessageId, inbox};

async fn pay(pool: &PgPool, id: MessageId, appid: &AppId, message: OutboxMessage) -> Result<(), sqlx::Error> {
    let row = message.inbox_row(id, appid);
    let mut order = pool.begin().await?;
    query("UPDATE orders SET state = 'paid' WHERE id = 4711").execute(&mut *order).await?;
    query(inbox::POSTGRES_INSERT)
        .bind(row.id)
        .bind(row.appid)
        .bind(row.message)
        .bind(row.send_at_ms)
        .bind(row.expires_at_ms)
        .bind(row.priority)
        .execute(&mut *order)
        .await?;
    order.commit().await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    let (id, appid, message) = wxsub_drivers::message()?;
    Ok(pay(&pool, id, &appid, message).await?)
}
