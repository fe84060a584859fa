//! The pages people see.

use std::fmt::{self, Write};

use wxsub_proto::ConsentRequest;

use crate::fault::PORTAL;
use crate::handled::Reply;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0;font:16px/1.5 system-ui,sans-serif;background:#ededed;color:#191919}\
main{max-width:26rem;margin:0 auto;padding:2rem 1.25rem}\
h1{font-size:1.25rem;margin:0 0 .5rem}\
dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem;background:#fff;padding:1rem;border-radius:.5rem}\
dt{color:#6b6b6b}dd{margin:0;overflow-wrap:anywhere}\
label{display:block;margin:1rem 0 .25rem;color:#6b6b6b}\
input,button{box-sizing:border-box;width:100%;font:inherit;padding:.65rem;border-radius:.5rem;border:1px solid #c8c8c8}\
button{margin-top:1rem;border:0;background:#fff;color:#191919}\
button[value=confirm]{background:#07863f;color:#fff}\
footer{margin-top:2rem;font-size:.875rem;color:#6b6b6b}\
@media(prefers-color-scheme:dark){body{background:#111;color:#e6e6e6}dl,button,input{background:#1e1e1e;color:#e6e6e6}\
dt,label,footer{color:#a0a0a0}}";

/// Asks the user. The form posts back to the very address it was opened at, so nothing has to be carried over.
pub(crate) fn consent(request: &ConsentRequest, site: &str, openid: &str) -> Reply {
    let mut details = String::new();
    let (template, scene) = (request.template_id.as_str(), request.scene.to_string());
    for (name, value) in
        [("App", request.appid.as_str()), ("Template", template), ("Scene", &scene), ("Returns to", site)]
    {
        // Writing into a String cannot fail.
        let _ = write!(details, "<dt>{name}</dt><dd>{}</dd>", Escaped(value));
    }
    let body = format!(
        "<h1>Allow one message?</h1>\
         <p>If you allow it, this app may send you one message. You need not follow it.</p>\
         <dl>{details}</dl>\
         <form method=\"post\">\
         <label for=\"openid\">You are the user with this openid</label>\
         <input id=\"openid\" name=\"openid\" value=\"{}\" maxlength=\"128\" pattern=\"[A-Za-z0-9_\\-]+\" required>\
         <button name=\"action\" value=\"confirm\">Allow</button>\
         <button name=\"action\" value=\"cancel\" formnovalidate>Cancel</button>\
         </form>\
         <footer>This is a sandbox, not Weixin. No message leaves it.</footer>",
        Escaped(openid)
    );
    Reply::html(200, document("Allow one message?", &body))
}

/// Says why the user is not asked.
pub(crate) fn wrong_parameters(why: &str) -> Reply {
    let body = format!(
        "<h1>This link cannot be opened</h1><p>{}</p><footer>This is a sandbox, not Weixin.</footer>",
        Escaped(why)
    );
    Reply::html(400, document("This link cannot be opened", &body))
}

/// Nothing is here.
pub(crate) fn not_found() -> Reply {
    Reply::html(404, document("Not found", "<h1>Not found</h1>"))
}

/// What a proxy or load balancer in trouble says; a 3xx leads to the portal.
pub(crate) fn intermediary(status: u16) -> Reply {
    match status {
        300..400 => Reply::redirect(status, PORTAL.to_owned()),
        _ => {
            let body = format!("<h1>{status}</h1><p>The server could not be reached.</p>");
            Reply::html(status, document("Gateway", &body))
        }
    }
}

/// What the hotel's network says instead of Weixin.
pub(crate) fn captive_portal() -> Reply {
    Reply::html(200, document("Welcome", "<h1>Welcome</h1><p>Sign in to use this network.</p>"))
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
}

/// Text that cannot become markup.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(Escaped(r#"<a href="x">'&'"#).to_string(), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;");
        let page = String::from_utf8(wrong_parameters("<script>").body).unwrap();
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"));
    }
}
