//! A simulated Weixin for development and tests: tokens, consents and one-time messages without an AppID or a network.
//!
//! It is written from Weixin's documentation alone and shares no logic with the client. Each can therefore be tested
//! against the other. In process, [`Sandbox::handle`] turns a request into a response. `http::serve` serves the sandbox
//! over HTTP.
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `http` | yes | `http::serve` |
//! | `pages` | yes | the consent page and [the other pages](#the-pages) |
//!
//! ```
//! use std::time::Duration;
//!
//! use wxsub_proto::endpoint::{subscribe, token};
//! use wxsub_proto::{AppId, AppSecret, BaseUrl, ConsentAction, ConsentRequest, Grant, Message, TemplateId};
//! use wxsub_proto::codec::Request;
//! use wxsub_sandbox::{ConnectionFault, Sandbox};
//!
//! let (app, secret): (AppId, _) = ("wx0123456789abcdef".parse()?, AppSecret::new("test-secret")?);
//! let template: TemplateId = "TEMPLATE".parse()?;
//! let sandbox = Sandbox::new();
//! sandbox.add_app(app.clone(), secret.clone(), [template.clone()]);
//!
//! // A transport in three lines. A connection fault becomes an error.
//! let base = BaseUrl::new("http://localhost")?;
//! let send = |request: Request<'_>| -> Result<_, ConnectionFault> {
//!     let target = request.url(&base).split_off(base.as_str().len());
//!     sandbox.handle(request.method().as_str(), &target, request.body()).outcome
//! };
//!
//! // The user allows one message.
//! let request = ConsentRequest::new(app.clone(), template, 7)?;
//! let callback = sandbox.consent(request, ConsentAction::Confirm { openid: "oUser".parse()? })?;
//! assert_eq!(callback.to_query(), "openid=oUser&template_id=TEMPLATE&action=confirm&scene=7");
//!
//! // Fetch a token and send the message.
//! let response = send(token::TokenRequest::new(app, secret).encode())?;
//! let Ok(issued) = token::TokenResponse::parse(response.status, &response.body)? else { unreachable!() };
//! let grant = Grant::assume_verified("oUser", callback.template_id.clone(), callback.scene)?;
//! let message = Message::builder(grant).title("Parcel").content("Your parcel has arrived.").build()?;
//! let response = send(subscribe::request(&issued.access_token, &message))?;
//! assert_eq!(subscribe::parse_response(response.status, &response.body)?, Ok(()));
//! assert_eq!(sandbox.mailbox(&"oUser".parse()?)[0].body["title"], "Parcel");
//!
//! // After two hours the token has expired.
//! sandbox.advance(Duration::from_secs(7200));
//! let response = send(subscribe::request(&issued.access_token, &message))?;
//! let Err(refusal) = subscribe::parse_response(response.status, &response.body)? else { unreachable!() };
//! assert_eq!(refusal.errcode().get(), 42001);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Weixin's endpoints
//!
//! `GET /cgi-bin/token`, `POST /cgi-bin/stable_token`, `POST /cgi-bin/message/template/subscribe`,
//! `GET /cgi-bin/get_api_domain_ip`, `POST /cgi-bin/openapi/quota/get`, and the consent page `/mp/subscribemsg`.
//!
//! Every path below `/cgi-bin/` returns status 200 and JSON. Errors have the messages of real responses and a `rid`. Over
//! HTTP, every response has a `Date` header by the clock of the sandbox.
//!
//! | as documented by Weixin | |
//! |---|---|
//! | classic tokens | Lifetime 2 hours. A fetch invalidates the previous token after 5 minutes, and older tokens at once. 2000 a day. |
//! | stable tokens | Every caller gets the same token until 5 minutes before it expires. Forced 20 times a day, at least 30 s apart. 10000 calls a minute. |
//! | both kinds | They do not affect each other. |
//! | invalid tokens | 41001 missing, 40014 never issued, 42001 expired, 40001 superseded |
//! | credentials | 41002, 40013 (checked first), 40002, 41004, 40125, 40243, 40164 with the caller's address |
//! | grants | One message per user, template and scene. Repeated consents for the same three do not add up. |
//! | messages | Title at most 15 characters, content at most 200, scene 0 to 10000 as text or number. Unknown members are kept. |
//! | limits | 45009 per day, 45011 per minute; see [`AppSettings`] |
//!
//! | chosen by the sandbox, because Weixin does not document it | |
//! |---|---|
//! | forced refresh | The first one leaves the previous token its 5 minutes. The second one invalidates that token at once. |
//! | daily limits | They reset at midnight in Beijing. A rejected token request does not count. Every send with a valid token counts. |
//! | rejected sends | The grant stays open. A cancelled consent keeps an earlier grant. |
//! | a token both expired and superseded | 42001 or 40001, whichever happened first. A week after it expired, 40014. |
//! | several errors in one request | Checked in this order: method, credentials or token, address, limits, body, grant. |
//! | content too long | 47003. The messages of 40062, 40129, 40165, 40166, 40243, 41004 and 43001 imitate real ones. |
//! | characters | Unicode scalar values. An emoji counts as one. |
//! | 40001 for a wrong AppSecret | Not used. Real responses have 40125. |
//! | memory | The last 100 000 open grants, 100 000 messages and 10 000 events are kept. |
//!
//! Not simulated: registered redirect domains, ICP licences, users of other apps, expiry of grants, blacklists,
//! `clear_quota`, API signatures, and an administrator's confirmation of new addresses (895xx). A [fault](Fault) can return
//! any error code.
//!
//! # The pages
//!
//! `GET /` is the home page. It shows apps, mailboxes and events. Its forms move the clock and add faults; each form makes
//! one call of the control API. `/callback` stands in for the callback URL of an app.
//!
//! Pages of other sites may link to these pages, but they cannot change anything. The sandbox relies on what the browser
//! reports about the origin of a request.
//!
//! # The journal
//!
//! A [`Journal`] is the witness of a test: an append-only file with one [`JournalRecord`] for each request to Weixin,
//! durable before the request takes effect.
//!
//! # The control API
//!
//! In Rust, use the methods of [`Sandbox`]. As JSON, use HTTP or [`Sandbox::handle`]. Unknown members and invalid values
//! are rejected with 400 and `{"error"}`. The error starts with the path of the member.
//!
//! | | |
//! |---|---|
//! | `POST /_sandbox/apps` | `{"appid","secret","templates":[…]}` and [settings](AppSettings): `token_lifetime_s`, `overlap_s`, `token_length`, `allowed_ips`, `frozen`, `token_quota`, `send_quota`, `minute_limit`. For an existing app, replaces all of them and keeps tokens and grants. |
//! | `POST /_sandbox/consents` | `{"appid","openid","template_id","scene","reserved","action":"confirm"\|"cancel"}`, returns the callback |
//! | `GET /_sandbox/mailbox?openid=…` | A list of message bodies, each with `appid` and `received_at` (Unix seconds). |
//! | `POST /_sandbox/clock/advance` | `{"seconds"}` |
//! | `POST /_sandbox/tokens/invalidate` | `{"appid"}`; invalidates all tokens of both kinds, as if another client had fetched new ones |
//! | `POST /_sandbox/faults` | `{"path","times","fault","appid"}`, see [`Fault`]. Faults queue per path. `times` is 1 by default. With `appid`, only requests of this app meet the fault, see [`Sandbox::add_fault_for_app`]. |
//! | `DELETE /_sandbox/faults` | Removes all faults. |
//! | `GET /_sandbox/events` | `{"requests","events"}`, see [`EventLog`] |

#![cfg_attr(not(feature = "pages"), expect(dead_code, reason = "only the pages read some of the state"))]

mod api_error;
mod app;
mod clock;
mod control;
mod event_log;
mod exchange;
mod fault;
#[cfg(feature = "http")]
pub mod http;
mod journal;
mod mailbox;
#[cfg(feature = "pages")]
mod page;
mod request;
mod router;
mod sandbox;
mod state;
#[cfg(feature = "pages")]
mod ui;
mod weixin;

pub use app::AppSettings;
pub use clock::Clock;
pub use event_log::{Event, EventLog};
pub use exchange::{ConnectionFault, Exchange, Response};
pub use fault::{CAPTIVE_PORTAL_PATH, Fault};
pub use journal::{Journal, JournalRecord, JournaledMessage};
pub use mailbox::ReceivedMessage;
pub use request::Caller;
pub use sandbox::Sandbox;
pub use state::NotFoundError;
