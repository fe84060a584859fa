//! The sandbox's own pages: the home page with its forms, and the callback page.
//!
//! They are not part of Weixin. No fault applies to them, and the event log omits them. Each form makes one call of the
//! control API, then redirects to the home page.

use serde_json::{Value, json};

use crate::control;
use crate::exchange::Response;
use crate::page::{self, CALLBACK_PATH, FormResult, ICON_PATH, SCRIPT_PATH, STYLE_PATH};
use crate::request::{Query, Request};
use crate::state::SandboxState;

/// Handles a request for a page, a form, or a file of the pages. `None` for any other path.
pub(crate) fn handle(state: &mut SandboxState, request: &Request<'_>) -> Option<Response> {
    let render: fn(&SandboxState, &Request<'_>) -> Response = match request.path {
        "/" => |state, request| page::home(state, request, form_result(request.query)),
        CALLBACK_PATH => |_, request| page::callback(request),
        ICON_PATH => |_, _| Response::new(200, "image/svg+xml", include_str!("page/icon.svg")),
        STYLE_PATH => |_, _| Response::new(200, "text/css; charset=utf-8", include_str!("page/style.css")),
        SCRIPT_PATH => {
            |_, _| Response::new(200, "text/javascript; charset=utf-8", include_str!("page/refresh.js"))
        }
        _ => return handle_form(state, request),
    };
    Some(match request.method {
        "GET" | "HEAD" => render(state, request),
        _ => page::error_page(405, "This page accepts only GET."),
    })
}

/// The path prefix of all forms.
const FORM_ROOT: &str = "/_sandbox/ui/";

/// One form of the home page.
struct Form {
    /// Its path below [`FORM_ROOT`].
    name: &'static str,
    /// The method and path of its control.
    method: &'static str,
    control: &'static str,
    /// Converts the form fields into the body of the control.
    body: fn(&Query) -> Value,
    /// The section of the home page that shows the result, and the message there.
    section: &'static str,
    message: &'static str,
}

const FORMS: [Form; 5] = [
    Form {
        name: "apps",
        method: "POST",
        control: "/apps",
        body: app_body,
        section: "apps",
        message: "App added with default settings.",
    },
    Form {
        name: "tokens/invalidate",
        method: "POST",
        control: "/tokens/invalidate",
        body: |form| json!({"appid": form.get("appid")}),
        section: "apps",
        message: "All tokens of the app are invalid now.",
    },
    Form {
        name: "clock",
        method: "POST",
        control: "/clock/advance",
        body: |form| json!({"seconds": number(form.get("seconds"))}),
        section: "clock",
        message: "Clock moved forward.",
    },
    Form {
        name: "faults",
        method: "POST",
        control: "/faults",
        body: fault_body,
        section: "faults",
        message: "Fault added. It applies to the next request for its path and app.",
    },
    Form {
        name: "faults/clear",
        method: "DELETE",
        control: "/faults",
        body: |_| Value::Null,
        section: "faults",
        message: "All faults removed.",
    },
];

/// The result of the form that the query of the home page names.
///
/// The query contains only the name. A link from another site therefore cannot set the message.
fn form_result(query: &str) -> Option<FormResult> {
    let query = Query::parse(query);
    let form = FORMS.iter().find(|form| query.get("done") == Some(form.name))?;
    Some(FormResult { section: form.section, message: form.message })
}

/// Handles a submitted form. `None` if no form has this path.
fn handle_form(state: &mut SandboxState, request: &Request<'_>) -> Option<Response> {
    let name = request.path.strip_prefix(FORM_ROOT)?;
    let form = FORMS.iter().find(|form| form.name == name)?;
    if request.method != "POST" {
        return Some(page::error_page(405, "This address accepts only POST from a form of the home page."));
    }
    let fields = Query::parse(&String::from_utf8_lossy(request.body.unwrap_or_default()));
    let body = (form.body)(&fields).to_string();
    let body = request.body.and(Some(body.as_bytes()));
    let control_request = Request { method: form.method, body, ..*request };
    Some(match control::dispatch(state, form.control, &control_request) {
        Ok(_) => Response::redirect(303, format!("/?done={}#{}", form.name, form.section)),
        Err(error) => page::error_page(error.status, &error.error),
    })
}

/// The body of the control `apps`. Spaces or commas separate the templates.
fn app_body(form: &Query) -> Value {
    let templates = form.get("templates").unwrap_or_default();
    let templates = templates.split([' ', ',']).filter(|template| !template.is_empty());
    json!({
        "appid": form.get("appid"),
        "secret": form.get("secret"),
        "templates": templates.collect::<Vec<_>>(),
    })
}

/// The body of the control `faults`. Invalid values are passed on, so that the control reports them.
fn fault_body(form: &Query) -> Value {
    let number_of = |name: &str| json!({name: number(form.get("number"))});
    let fault = match form.get("fault") {
        Some(name @ ("errcode" | "status" | "delay_ms")) => number_of(name),
        name => json!(name),
    };
    json!({
        "appid": form.get("appid"),
        "path": form.get("path"),
        "times": number(form.get("times")),
        "fault": fault,
    })
}

/// The text as a number if it is one, otherwise as text.
fn number(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| text.trim().parse::<i64>().map_or_else(|_| json!(text), Value::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_fields_become_control_bodies() {
        let body = |appid: Value, path: Value, times: Value, fault: Value| json!({"appid": appid, "path": path, "times": times, "fault": fault});
        let (null, x) = (Value::Null, json!("/x"));
        let faults = [
            (
                "appid=wx1&path=%2Fx&times=3&fault=hang&number=",
                body(json!("wx1"), x.clone(), json!(3), json!("hang")),
            ),
            ("appid=&path=/x&fault=errcode&number=-1", {
                body(null.clone(), x.clone(), null.clone(), json!({"errcode": -1}))
            }),
            ("path=/x&fault=status&number=", {
                body(null.clone(), x.clone(), null.clone(), json!({"status": null}))
            }),
            ("path=/x&fault=delay_ms&number=soon", {
                body(null.clone(), x, null.clone(), json!({"delay_ms": "soon"}))
            }),
            ("times=many", body(null.clone(), null.clone(), json!("many"), null)),
        ];
        for (form, body) in faults {
            assert_eq!(fault_body(&Query::parse(form)), body, "{form}");
        }
        let form = Query::parse("appid=wx1&secret=s&templates=T,+U++V");
        assert_eq!(app_body(&form), json!({"appid": "wx1", "secret": "s", "templates": ["T", "U", "V"]}));
    }

    #[test]
    fn result_accepts_only_names_of_forms() {
        for query in ["done=faults/clear", "done=faults%2Fclear"] {
            let result = form_result(query).unwrap();
            assert_eq!((result.section, result.message), ("faults", "All faults removed."));
        }
        for other in ["", "done=", "done=<b>", "done=unknown"] {
            assert!(form_result(other).is_none(), "{other}");
        }
    }
}
