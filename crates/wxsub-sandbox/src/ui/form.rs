//! What the forms of the home page do: each becomes a call of the control API, and leads back with a word about it.

use serde_json::{Value, json};

use crate::control;
use crate::exchange::Response;
use crate::page::{self, FormResult};
use crate::query::Query;
use crate::request::Request;
use crate::state::SandboxState;

/// Forms are posted to places below this.
const ROOT: &str = "/_sandbox/ui/";

/// One form.
struct Form {
    /// Where it is posted to, below [`ROOT`].
    name: &'static str,
    /// The control it becomes a call of.
    method: &'static str,
    control: &'static str,
    /// What it makes of the fields.
    body: fn(&Query) -> Value,
    /// Where on the home page the user comes back to, and what they are told there.
    section: &'static str,
    message: &'static str,
}

const FORMS: [Form; 5] = [
    Form {
        name: "apps",
        method: "POST",
        control: "/apps",
        body: app,
        section: "apps",
        message: "The app is there, with the settings every new app has.",
    },
    Form {
        name: "tokens/invalidate",
        method: "POST",
        control: "/tokens/invalidate",
        body: |form| json!({"appid": form.get("appid")}),
        section: "apps",
        message: "A stranger fetched a token: every token this app had is over.",
    },
    Form {
        name: "clock",
        method: "POST",
        control: "/clock/advance",
        body: |form| json!({"seconds": number(form.get("seconds"))}),
        section: "clock",
        message: "The clock was moved.",
    },
    Form {
        name: "faults",
        method: "POST",
        control: "/faults",
        body: fault,
        section: "faults",
        message: "The fault is switched on: it waits for the next call.",
    },
    Form {
        name: "faults/clear",
        method: "DELETE",
        control: "/faults",
        body: |_| Value::Null,
        section: "faults",
        message: "All faults are switched off.",
    },
];

/// What a form did, as the query of the home page tells. It names the form, so no link can make the page say anything
/// else.
pub(super) fn result(query: &str) -> Option<FormResult> {
    let query = Query::parse(query);
    let form = FORMS.iter().find(|form| query.get("done") == Some(form.name))?;
    Some(FormResult { section: form.section, message: form.message })
}

/// Answers a posted form, unless the path is of no form.
pub(super) fn handle(state: &mut SandboxState, request: &Request<'_>) -> Option<Response> {
    let name = request.path.strip_prefix(ROOT)?;
    let form = FORMS.iter().find(|form| form.name == name)?;
    if request.method != "POST" {
        return Some(page::form_error(405, "This is where a form of the home page is sent to."));
    }
    let fields = Query::parse(&String::from_utf8_lossy(request.body.unwrap_or_default()));
    let body = (form.body)(&fields).to_string();
    let body = request.body.and(Some(body.as_bytes()));
    let control_request = Request { method: form.method, body, ..*request };
    Some(match control::dispatch(state, form.control, &control_request) {
        Ok(_) => Response::redirect(303, format!("/?done={}#{}", form.name, form.section)),
        Err(error) => page::form_error(error.status, &error.error),
    })
}

/// An app, as the control wants it: the templates stand apart by spaces or commas.
fn app(form: &Query) -> Value {
    let templates = form.get("templates").unwrap_or_default();
    let templates = templates.split([' ', ',']).filter(|template| !template.is_empty());
    json!({
        "appid": form.get("appid"),
        "secret": form.get("secret"),
        "templates": templates.collect::<Vec<_>>(),
    })
}

/// A fault, as the control wants it. What does not fit is handed on as it is: the control says what is wrong.
fn fault(form: &Query) -> Value {
    let number_of = |name: &str| json!({name: number(form.get("number"))});
    let fault = match form.get("fault") {
        Some(name @ ("errcode" | "status" | "delay_ms")) => number_of(name),
        name => json!(name),
    };
    json!({"path": form.get("path"), "times": number(form.get("times")), "fault": fault})
}

/// A number where the text is one.
fn number(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| text.trim().parse::<i64>().map_or_else(|_| json!(text), Value::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_what_the_control_takes() {
        let faults = [
            ("path=%2Fx&times=3&fault=hang&number=", json!({"path": "/x", "times": 3, "fault": "hang"})),
            (
                "path=/x&fault=errcode&number=-1",
                json!({"path": "/x", "times": null, "fault": {"errcode": -1}}),
            ),
            ("path=/x&fault=status&number=", json!({"path": "/x", "times": null, "fault": {"status": null}})),
            ("path=/x&fault=delay_ms&number=soon", {
                json!({"path": "/x", "times": null, "fault": {"delay_ms": "soon"}})
            }),
            ("times=many", json!({"path": null, "times": "many", "fault": null})),
        ];
        for (form, body) in faults {
            assert_eq!(fault(&Query::parse(form)), body, "{form}");
        }
        let form = Query::parse("appid=wx1&secret=s&templates=T,+U++V");
        assert_eq!(app(&form), json!({"appid": "wx1", "secret": "s", "templates": ["T", "U", "V"]}));
    }

    #[test]
    fn the_home_page_says_what_a_form_did_and_nothing_else() {
        for query in ["done=faults/clear", "done=faults%2Fclear"] {
            let result = result(query).unwrap();
            assert_eq!((result.section, result.message), ("faults", "All faults are switched off."));
        }
        for other in ["", "done=", "done=<b>", "done=strangers"] {
            assert!(result(other).is_none(), "{other}");
        }
    }
}
