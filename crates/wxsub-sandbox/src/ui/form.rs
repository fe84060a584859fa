//! What the forms of the home page do: each becomes a call of the control API, and leads back with a word about it.

use serde_json::{Value, json};

use crate::call::Call;
use crate::control;
use crate::handled::Reply;
use crate::page;
use crate::query::Query;
use crate::world::World;

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
    place: &'static str,
    done: &'static str,
}

const FORMS: [Form; 5] = [
    Form {
        name: "apps",
        method: "POST",
        control: "/apps",
        body: app,
        place: "apps",
        done: "The app is there, with the settings every new app has.",
    },
    Form {
        name: "strangers",
        method: "POST",
        control: "/tokens/invalidate",
        body: |form| json!({"appid": form.get("appid")}),
        place: "apps",
        done: "A stranger fetched a token: every token this app had is over.",
    },
    Form {
        name: "clock",
        method: "POST",
        control: "/clock/advance",
        body: |form| json!({"seconds": number(form.get("seconds"))}),
        place: "clock",
        done: "The clock was moved.",
    },
    Form {
        name: "faults",
        method: "POST",
        control: "/faults",
        body: fault,
        place: "faults",
        done: "The fault is switched on: it waits for the next call.",
    },
    Form {
        name: "faults/clear",
        method: "DELETE",
        control: "/faults",
        body: |_| Value::Null,
        place: "faults",
        done: "All faults are switched off.",
    },
];

/// What a form did, as the address it led back to tells.
#[derive(Clone, Copy, Default)]
pub(crate) struct Done(Option<&'static Form>);

impl Done {
    /// Reads the query of the home page: it names the form, so no link can make the page say anything else.
    pub(crate) fn read(query: &str) -> Self {
        let query = Query::read(query);
        Self(FORMS.iter().find(|form| query.get("done") == Some(form.name)))
    }

    /// What to say in this place.
    pub(crate) fn at(self, place: &str) -> Option<&'static str> {
        self.0.filter(|form| form.place == place).map(|form| form.done)
    }
}

/// Answers a posted form, unless the path is of no form.
pub(super) fn answer(world: &mut World, call: &Call<'_>) -> Option<Reply> {
    let name = call.path.strip_prefix(ROOT)?;
    let form = FORMS.iter().find(|form| form.name == name)?;
    if call.method != "POST" {
        return Some(page::refused(405, "This is where a form of the home page is sent to."));
    }
    let fields = Query::read(&String::from_utf8_lossy(call.body.unwrap_or_default()));
    let body = (form.body)(&fields).to_string();
    let body = call.body.and(Some(body.as_bytes()));
    let control_call = Call { method: form.method, body, ..*call };
    Some(match control::carry_out(world, form.control, &control_call) {
        Ok(_) => Reply::redirect(303, format!("/?done={}#{}", form.name, form.place)),
        Err(wrong) => page::refused(wrong.status, &wrong.error),
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
            assert_eq!(fault(&Query::read(form)), body, "{form}");
        }
        let form = Query::read("appid=wx1&secret=s&templates=T,+U++V");
        assert_eq!(app(&form), json!({"appid": "wx1", "secret": "s", "templates": ["T", "U", "V"]}));
    }

    #[test]
    fn the_home_page_says_what_a_form_did_and_nothing_else() {
        let said = |query: &str| Done::read(query).at("faults");
        assert_eq!(said("done=faults/clear"), Some("All faults are switched off."));
        assert_eq!(said("done=faults%2Fclear"), Some("All faults are switched off."));
        for other in ["", "done=", "done=<b>", "done=clock"] {
            assert_eq!(said(other), None, "{other}");
        }
    }
}
