//! The message and its parts.
//!
//! <https://developers.weixin.qq.com/doc/subscription/en/api/notify/subscribe/api_templatesubscribe.html>

mod draft;

pub use draft::MessageDraft;

use serde::{Serialize, Serializer};

use crate::validation::{ErrorCollector, check_length, check_no_control_chars, validated_string};
use crate::{
    AppId, Grant, HttpUrl, LocalizedText, OpenId, Scene, TemplateId, ValidationError, ValidationErrors,
};

/// The buffer capacity that an ordinary body needs, in bytes.
const INITIAL_CAPACITY: usize = 512;

/// One message to one user, made from a [`Grant`]. As JSON it is the body that Weixin documents, in both directions.
/// Parsing reports all broken rules at once.
#[derive(Debug, Clone, PartialEq, Eq, getset::Getters)]
pub struct Message {
    /// The grant that the message uses.
    #[getset(get = "pub")]
    grant: Grant,
    /// The title.
    #[getset(get = "pub")]
    title: Title,
    /// The content.
    #[getset(get = "pub")]
    content: Content,
    color: Option<Color>,
    tap_url: Option<HttpUrl>,
    mini_program: Option<MiniProgram>,
}

impl Message {
    /// Begins a message that uses this grant.
    pub fn builder(grant: Grant) -> MessageBuilder {
        MessageBuilder::new(grant)
    }

    /// The colour of the content, if set.
    pub fn content_color(&self) -> Option<&Color> {
        self.color.as_ref()
    }

    /// The web page that a tap opens, if set. Clients that can open the mini program prefer that.
    pub fn tap_url(&self) -> Option<&HttpUrl> {
        self.tap_url.as_ref()
    }

    /// The page of a mini program that a tap opens, if set.
    pub fn mini_program(&self) -> Option<&MiniProgram> {
        self.mini_program.as_ref()
    }

    /// The body that Weixin documents: raw UTF-8, without absent fields.
    pub fn to_json(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(INITIAL_CAPACITY);
        // Plain text in plain structs: writing it cannot fail.
        serde_json::to_writer(&mut body, self).map(|()| body).unwrap_or_default()
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Body::of(self).serialize(serializer)
    }
}

/// Makes a [`Message`]. [`build`](Self::build) reports all problems at once.
///
/// Each method takes the validated type, or a text that is validated.
///
/// ```
/// use wxsub_proto::{Grant, Message};
///
/// let grant = Grant::assume_verified("OPENID", "TEMPLATE_ID", 1000)?;
/// let message = Message::builder(grant.clone())
///     .title("Parcel")
///     .content("It is here.\nCome and get it.")
///     .color("#07C160")
///     .on_tap_url("https://shop.example/parcel/1")
///     .build()?;
/// assert_eq!(message.tap_url().unwrap().as_str(), "https://shop.example/parcel/1");
///
/// let error = Message::builder(grant).content("").color("green").build().unwrap_err();
/// let fields: Vec<_> = error.iter().map(|problem| problem.field()).collect();
/// assert_eq!(fields, ["title", "data.content.value", "data.content.color"]);
/// # Ok::<(), wxsub_proto::ValidationErrors>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing before `build`"]
pub struct MessageBuilder {
    grant: Grant,
    url: Option<Result<HttpUrl, ValidationError>>,
    mini_program: Option<(Result<AppId, ValidationError>, Result<PagePath, ValidationError>)>,
    title: Result<Title, ValidationError>,
    content: Result<Content, ValidationError>,
    color: Option<Result<Color, ValidationError>>,
}

impl MessageBuilder {
    fn new(grant: Grant) -> Self {
        let title = Err(ValidationError::missing("title"));
        let content = Err(ValidationError::missing("data.content.value"));
        Self { grant, url: None, mini_program: None, title, content, color: None }
    }

    /// Sets the title. It is required.
    pub fn title(self, title: impl TryInto<Title, Error: Into<ValidationError>>) -> Self {
        Self { title: convert("title", title), ..self }
    }

    /// Sets the content. It is required.
    pub fn content(self, content: impl TryInto<Content, Error: Into<ValidationError>>) -> Self {
        Self { content: convert("data.content.value", content), ..self }
    }

    /// Sets the colour of the content.
    pub fn color(self, color: impl TryInto<Color, Error: Into<ValidationError>>) -> Self {
        Self { color: Some(convert("data.content.color", color)), ..self }
    }

    /// A tap opens this web page. Clients that can open the mini program prefer it.
    pub fn on_tap_url(self, url: impl TryInto<HttpUrl, Error: Into<ValidationError>>) -> Self {
        Self { url: Some(convert("url", url)), ..self }
    }

    /// A tap opens this page of a mini program.
    pub fn on_tap_mini_program(
        mut self,
        appid: impl TryInto<AppId, Error: Into<ValidationError>>,
        pagepath: impl TryInto<PagePath, Error: Into<ValidationError>>,
    ) -> Self {
        let appid = convert("miniprogram.appid", appid);
        self.mini_program = Some((appid, convert("miniprogram.pagepath", pagepath)));
        self
    }

    /// The message, if every value is valid and title and content are set.
    ///
    /// # Errors
    /// [`ValidationErrors`]: every field that breaks a rule, in the order of Weixin's documentation.
    pub fn build(self) -> Result<Message, ValidationErrors> {
        let mut errors = ErrorCollector::default();
        let url = self.url.and_then(|url| errors.keep(url));
        let mini_program = self.mini_program.and_then(|(appid, pagepath)| {
            let (appid, pagepath) = (errors.keep(appid), errors.keep(pagepath));
            appid.zip(pagepath).map(|(appid, pagepath)| MiniProgram { appid, pagepath })
        });
        let title = errors.keep(self.title);
        let content = errors.keep(self.content);
        let color = self.color.and_then(|color| errors.keep(color));
        let message = title.zip(content).map(|(title, content)| Message {
            grant: self.grant,
            title,
            content,
            color,
            tap_url: url,
            mini_program,
        });
        errors.finish(message)
    }
}

fn convert<T>(
    field: &'static str,
    value: impl TryInto<T, Error: Into<ValidationError>>,
) -> Result<T, ValidationError> {
    value.try_into().map_err(|error| error.into().with_field(field))
}

validated_string!(
    /// The title of a message: 1 to [`MAX`](Self::MAX) characters (Unicode scalar values), no control characters.
    Title,
    |text| {
        check_length("title", text, Title::MAX)?;
        check_no_control_chars("title", text, |_| false)
    }
);

impl Title {
    /// The maximum length in characters.
    pub const MAX: usize = 15;
}

validated_string!(
    /// The content of a message: 1 to [`MAX`](Self::MAX) characters (Unicode scalar values). `\n` is a line break. Other
    /// control characters are refused; `\r` has an error of its own.
    Content,
    |text| {
        check_length("content", text, Content::MAX)?;
        check_no_control_chars("content", text, |c| c == '\n')
    }
);

impl Content {
    /// The maximum length in characters, line breaks included.
    pub const MAX: usize = 200;
}

validated_string!(
    /// The one colour of a text: `#` and six hexadecimal digits of either case.
    Color,
    |text| match text.strip_prefix('#') {
        Some(digits) if digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(()),
        _ => Err(ValidationError::invalid_format("color", LocalizedText::new("# and six hexadecimal digits, such as #07C160", "是 # 加六位十六进制数字，例如 #07C160"))),
    }
);

/// A page of a mini program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MiniProgram {
    /// The AppID of the mini program, which must be linked to the app that sends.
    pub appid: AppId,
    /// The page, with its query.
    pub pagepath: PagePath,
}

validated_string!(
    /// The page of a mini program, with its query: 1 to 1024 characters (our limit), no control characters.
    PagePath,
    |text| {
        check_length("miniprogram.pagepath", text, 1024)?;
        check_no_control_chars("miniprogram.pagepath", text, |_| false)
    }
);

/// The JSON body that Weixin documents.
#[derive(Serialize)]
struct Body<'a> {
    touser: &'a OpenId,
    template_id: &'a TemplateId,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a HttpUrl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    miniprogram: Option<&'a MiniProgram>,
    scene: Scene,
    title: &'a Title,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    content: Text<'a>,
}

#[derive(Serialize)]
struct Text<'a> {
    value: &'a Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<&'a Color>,
}

impl<'a> Body<'a> {
    fn of(message: &'a Message) -> Self {
        Self {
            touser: message.grant.openid(),
            template_id: message.grant.template_id(),
            url: message.tap_url(),
            miniprogram: message.mini_program(),
            scene: message.grant.scene(),
            title: &message.title,
            data: Data { content: Text { value: &message.content, color: message.color.as_ref() } },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ValidationErrorKind;

    fn builder() -> MessageBuilder {
        Message::builder(Grant::assume_verified("o", "T", 7).unwrap())
    }

    #[test]
    fn all_problems_are_reported_in_documented_order() {
        let error = builder()
            .color("red")
            .title("0123456789abcdef".to_owned())
            .on_tap_mini_program("wx 2", "")
            .on_tap_url("ftp://x")
            .build()
            .unwrap_err();
        let fields: Vec<_> = error.iter().map(ValidationError::field).collect();
        let expected = [
            "url",
            "miniprogram.appid",
            "miniprogram.pagepath",
            "title",
            "data.content.value",
            "data.content.color",
        ];
        assert_eq!(fields, expected);
    }

    /// Destructuring names every field, so that a new one cannot be left out here.
    #[test]
    fn every_field_survives_json() {
        let builder = builder().title("t").content("c").color("#000000").on_tap_url("http://a");
        let message = builder.on_tap_mini_program("wx2", "pages/index").build().unwrap();
        let read: Message = serde_json::from_slice(&message.to_json()).unwrap();
        assert_eq!(read, message);
        let Message { grant: _, title: _, content: _, color, tap_url, mini_program } = read;
        assert!(
            color.is_some() && tap_url.is_some() && mini_program.is_some(),
            "give each optional field a value"
        );
    }

    #[test]
    fn texts_and_validated_values_give_the_same_message() {
        let texts =
            builder().title("t").content("c").color("#000000").on_tap_url("http://a").build().unwrap();
        let values = builder()
            .title(texts.title().clone())
            .content("c".to_owned())
            .color(texts.content_color().unwrap().clone())
            .on_tap_url(texts.tap_url().unwrap().clone())
            .build();
        assert_eq!(values, Ok(texts));
    }

    #[test]
    fn a_tap_opens_web_page_mini_program_or_both() {
        let set = |message: MessageBuilder| {
            let message = message.build().unwrap();
            (message.tap_url().is_some(), message.mini_program().is_some())
        };
        let message = builder().title("t").content("c");
        assert_eq!(set(message.clone()), (false, false));
        let page = message.on_tap_mini_program("wx2", "p");
        assert_eq!(set(page.clone()), (false, true));
        assert_eq!(set(page.on_tap_url("http://a")), (true, true));
    }

    #[test]
    fn title_counts_characters_not_bytes() {
        for good in ["a", "汉".repeat(15).as_str(), "😀".repeat(15).as_str(), "a b", " "] {
            assert!(Title::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a\nb", "a\tb", "\u{7f}", "\u{85}", "汉".repeat(16).as_str(), "e\u{301}".repeat(8).as_str()]
        {
            assert!(Title::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn content_counts_characters_and_allows_line_breaks() {
        for good in ["a", "a\nb\n", "汉".repeat(200).as_str(), "😀".repeat(200).as_str()] {
            assert!(Content::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a\tb", "\u{1b}[31m", "汉".repeat(201).as_str()] {
            assert!(Content::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_carriage_return_is_named() {
        let error = Content::new("a\r\nb").unwrap_err();
        assert_eq!(error.rule(), &ValidationErrorKind::CarriageReturn { position: 2 });
        assert_eq!(
            error.to_string(),
            "content: has a carriage return (\\r) at position 2; end lines with \\n alone"
        );
    }

    #[test]
    fn color_is_number_sign_and_six_hexadecimal_digits() {
        for good in ["#000000", "#07C160", "#abcdef", "#AbCdEf"] {
            assert!(Color::new(good).is_ok(), "{good}");
        }
        for bad in ["", "#", "000000", "#00000", "#0000000", "#00000g", "red", "##00000", "#汉汉"] {
            assert!(Color::new(bad).is_err(), "{bad}");
        }
    }
}
