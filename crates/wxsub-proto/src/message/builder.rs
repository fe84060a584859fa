use super::{Color, Content, Message, MiniProgram, PagePath, TapTarget, Title};
use crate::validation::ErrorCollector;
use crate::{AppId, Grant, HttpUrl, ValidationError, ValidationErrorKind, ValidationErrors};

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
    pub(super) fn new(grant: Grant) -> Self {
        let missing = |field| ValidationError::new(field, ValidationErrorKind::Missing);
        let (title, content) = (Err(missing("title")), Err(missing("data.content.value")));
        Self { grant, url: None, mini_program: None, title, content, color: None }
    }

    /// Sets the title. It is required.
    pub fn title(mut self, title: impl TryInto<Title, Error: Into<ValidationError>>) -> Self {
        self.title = convert("title", title);
        self
    }

    /// Sets the content. It is required.
    pub fn content(mut self, content: impl TryInto<Content, Error: Into<ValidationError>>) -> Self {
        self.content = convert("data.content.value", content);
        self
    }

    /// Sets the colour of the content.
    pub fn color(mut self, color: impl TryInto<Color, Error: Into<ValidationError>>) -> Self {
        self.color = Some(convert("data.content.color", color));
        self
    }

    /// A tap opens this web page. Clients that can open the mini program prefer it.
    pub fn on_tap_url(mut self, url: impl TryInto<HttpUrl, Error: Into<ValidationError>>) -> Self {
        self.url = Some(convert("url", url));
        self
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
            tap_target: TapTarget::from_parts(url, mini_program),
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn texts_and_validated_values_give_the_same_message() {
        let texts =
            builder().title("t").content("c").color("#000000").on_tap_url("http://a").build().unwrap();
        let values = builder()
            .title(texts.title().clone())
            .content(&"c".to_owned())
            .color(texts.content_color().unwrap().clone())
            .on_tap_url(texts.tap_url().unwrap().clone())
            .build();
        assert_eq!(values, Ok(texts));
    }

    #[test]
    fn tap_target_has_web_page_and_mini_program() {
        let message = builder().title("t").content("c");
        let target = |message: MessageBuilder| message.build().unwrap().tap_target().cloned();
        assert_eq!(target(message.clone()), None);
        let page = message.on_tap_mini_program("wx2", "p");
        assert!(matches!(target(page.clone()), Some(TapTarget::MiniProgram(_))));
        assert!(matches!(target(page.on_tap_url("http://a")), Some(TapTarget::MiniProgramOrUrl(..))));
    }
}
