//! A Weixin on your laptop: tokens, consents and one-time messages without an AppID, a network or waiting.
//!
//! It is written from Weixin's documentation alone and shares no logic with the client, so that the two can be held
//! against each other. In process it is one function from a request to a reply; [`http::serve`] puts it on a port.
//!
//! ```
//! use std::time::Duration;
//!
//! use wxsub_proto::endpoint::{subscribe, token};
//! use wxsub_proto::{Action, AppId, AppSecret, BaseUrl, ConsentRequest, Grant, Scene, TemplateId};
//! use wxsub_proto::codec::{Reply, Request};
//! use wxsub_sandbox::{ConnectionFault, Sandbox};
//!
//! let (app, secret): (AppId, _) = ("wx0123456789abcdef".parse()?, AppSecret::new("play-money")?);
//! let template: TemplateId = "TEMPLATE".parse()?;
//! let sandbox = Sandbox::new();
//! sandbox.add_app(app.clone(), secret.clone(), [template.clone()]);
//!
//! // A transport in three lines: whatever broke becomes an error.
//! let base = BaseUrl::new("http://localhost")?;
//! let ask = |request: Request<'_>| -> Result<_, ConnectionFault> {
//!     let target = request.url(&base).split_off(base.as_str().len());
//!     sandbox.handle(request.method().as_str(), &target, request.body()).outcome
//! };
//!
//! // The user allows one message.
//! let request = ConsentRequest::new(app.clone(), template, Scene::new(7)?);
//! let answer = sandbox.consent(request, Action::Confirm { openid: "oUser".parse()? })?;
//! assert_eq!(answer.to_query(), "openid=oUser&template_id=TEMPLATE&action=confirm&scene=7");
//!
//! // A token is fetched, the message sent.
//! let reply = ask(token::TokenRequest::new(app, secret).encode())?;
//! let Reply::Done(issued) = token::TokenReply::read(reply.status, &reply.body)? else { unreachable!() };
//! let grant = Grant::trusted("oUser".parse()?, answer.template_id().clone(), answer.scene());
//! let message = grant.message("Parcel".parse()?, "It is here.".parse()?);
//! let reply = ask(subscribe::encode(&issued.access_token, &message))?;
//! assert_eq!(subscribe::read(reply.status, &reply.body)?, Reply::Done(()));
//! assert_eq!(sandbox.mailbox(&"oUser".parse()?)[0].body["title"], "Parcel");
//!
//! // Two hours later the token has expired.
//! sandbox.advance(Duration::from_secs(7200));
//! let reply = ask(subscribe::encode(&issued.access_token, &message))?;
//! let Reply::Refused(refusal) = subscribe::read(reply.status, &reply.body)? else { unreachable!() };
//! assert_eq!(refusal.errcode().get(), 42001);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Weixin's side
//!
//! `GET /cgi-bin/token`, `POST /cgi-bin/stable_token`, `POST /cgi-bin/message/template/subscribe`,
//! `GET /cgi-bin/get_api_domain_ip`, `POST /cgi-bin/openapi/quota/get`, and the consent page `/mp/subscribemsg`. All of
//! `/cgi-bin/` answers with status 200 and JSON; refusals carry the texts of real answers and a `rid`. Over HTTP every
//! reply is dated by the clock of the sandbox.
//!
//! | modelled, as documented | |
//! |---|---|
//! | classic tokens | two hours; a fetch ends the token before it after 5 minutes, older ones at once; 2000 a day |
//! | stable tokens | the same for all until 5 minutes before its end; forced 20 times a day, 30 s apart; 10000 calls a minute |
//! | the two kinds | do not affect each other |
//! | a token's worth | 41001 missing, 40014 never issued, 42001 past its life, 40001 replaced |
//! | credentials | 41002, 40013 (before all others), 40002, 41004, 40125, 40243, 40164 with the caller's address |
//! | grants | one message per user, template and scene; consents for the same three do not add up |
//! | messages | title 15 characters, content 200, scene 0 to 10000 as text or number; unknown members are carried along |
//! | limits | 45009 a day, 45011 a minute; see [`AppSettings`] |
//!
//! | chosen, because it is not established | |
//! |---|---|
//! | one forced refresh | leaves the old token its 5 minutes; the second ends it |
//! | daily limits | start afresh at midnight in Beijing; a refused token call costs nothing, every send with a good token counts |
//! | a refused send | leaves the grant; a cancelled consent leaves an earlier grant |
//! | a token both expired and replaced | 42001 or 40001, whichever came first; a week later it is forgotten: 40014 |
//! | several faults in one request | what is looked at first: method, credentials or token, address, limits, body, grant |
//! | content too long | 47003; texts of 40062, 40129, 40165, 40166, 40243, 41004 and 43001 are in the style of real ones |
//! | characters | Unicode scalar values, so an emoji counts one |
//! | 40001 for a wrong AppSecret | not used: 40125 is what real answers say |
//!
//! Not modelled: registered redirect domains, ICP licences, users who belong to another app, expiry of grants, blacklists,
//! `clear_quota`, API signatures, confirmation of new addresses by an administrator (895xx). A [fault](Fault) can play any
//! code.
//!
//! # The pages
//!
//! `GET /` shows apps, mailboxes and the journal, moves the clock and switches faults on; its forms are calls of the control
//! side. `/back` plays an app to which answers come back. Pages of other sites may lead to all of this, and change nothing:
//! what a browser says of a request's origin is believed.
//!
//! # The control side
//!
//! Typed: the methods of [`Sandbox`]. As JSON over HTTP or through [`Sandbox::handle`]; members that are not listed, or
//! that break a rule, are answered with 400 and `{"error"}`, which begins with the name of the member:
//!
//! | | |
//! |---|---|
//! | `POST /_sandbox/apps` | `{"appid","secret","templates":[…]}` and [settings](AppSettings): `token_lifetime_s`, `overlap_s`, `token_length`, `allowed_ips`, `frozen`, `token_quota`, `send_quota`, `minute_limit`. Once more: changes them all, keeps tokens and grants |
//! | `POST /_sandbox/consents` | `{"appid","openid","template_id","scene","reserved","action":"confirm"\|"cancel"}`, gives the answer |
//! | `GET /_sandbox/mailbox?openid=…` | a list of message bodies, each with `appid` and `received_at` (Unix seconds) |
//! | `POST /_sandbox/clock/advance` | `{"seconds"}` |
//! | `POST /_sandbox/tokens/invalidate` | `{"appid"}`: a stranger ended all tokens of both kinds |
//! | `POST /_sandbox/faults` | `{"path","times","fault"}`, see [`Fault`]; queued per path, `times` is 1 unless given |
//! | `DELETE /_sandbox/faults` | no faults any more |
//! | `GET /_sandbox/events` | `{"requests","events"}`, see [`EventLog`] |

mod api_error;
mod app;
mod caller;
mod clock;
mod control;
mod event_log;
mod exchange;
mod fault;
pub mod http;
mod mailbox;
mod page;
mod query;
mod request;
mod router;
mod sandbox;
mod state;
mod token_generator;
mod ui;
mod weixin;

pub use app::AppSettings;
pub use caller::Caller;
pub use clock::Clock;
pub use event_log::{Event, EventLog};
pub use exchange::{ConnectionFault, Exchange, Response};
pub use fault::{CAPTIVE_PORTAL_PATH, Fault};
pub use mailbox::ReceivedMessage;
pub use sandbox::Sandbox;
pub use state::NotFoundError;
