//! Tests of an application, against the sandbox in process and against a mock transport.
//!
//! `cargo test -p wxsub-examples --examples` runs the tests below. The program prints this command.

use wxsub_core::Client;
use wxsub_core::error::Delivery;
use wxsub_core::proto::{Grant, Message};

/// The application under test: notifies a customer that a parcel has arrived. Returns whether the notification may have arrived.
///
/// # Errors
/// If the stored openid is invalid.
///
/// # Cancel safety
/// As [`Client::send`].
pub async fn notify(client: &Client, openid: &str) -> Result<bool, wxsub_core::proto::ValidationErrors> {
    let grant = Grant::assume_verified(openid, "TEMPLATE", 7)?;
    let message = Message::builder(grant).title("Parcel").content("It is here.").build()?;
    let may_have_arrived = match client.send(&message).await {
        Ok(()) => true,
        Err(error) => error.delivery() == Delivery::MaybeSent,
    };
    Ok(may_have_arrived)
}

fn main() {
    println!("cargo test -p wxsub-examples --examples");
}

#[cfg(test)]
mod tests {
    use wxsub_core::proto::{ConsentAction, ConsentRequest};
    use wxsub_core::testing::MockTransport;
    use wxsub_sandbox_transport::{Sandbox, SandboxTransport};

    use super::*;

    #[tokio::test]
    async fn customer_with_consent_is_notified_once() {
        let sandbox = Sandbox::new();
        sandbox.add_app("wx1".parse().unwrap(), "SECRET".parse().unwrap(), ["TEMPLATE".parse().unwrap()]);
        let request = ConsentRequest::new("wx1", "TEMPLATE", 7).unwrap();
        sandbox.consent(request, ConsentAction::Confirm { openid: "oCustomer".parse().unwrap() }).unwrap();
        let client = Client::builder("wx1", "SECRET", SandboxTransport::new(&sandbox)).build().unwrap();
        assert!(notify(&client, "oCustomer").await.unwrap());
        assert!(!notify(&client, "oCustomer").await.unwrap());
        assert_eq!(sandbox.mailbox(&"oCustomer".parse().unwrap()).len(), 1);
    }

    #[tokio::test]
    async fn lost_response_counts_as_notified() {
        let weixin = MockTransport::new().token("T").response_lost();
        let client = Client::builder("wx1", "SECRET", weixin).build().unwrap();
        assert!(notify(&client, "oCustomer").await.unwrap());
    }
}
