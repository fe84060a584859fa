use crate::validate::{check_length, check_no_control_chars, validated_string};
use crate::{AppId, HttpUrl};

/// Where a tap on the message leads. Without one a tap does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "Weixin documents these three")]
pub enum TapTarget {
    /// A web page. Weixin requires an ICP licence for its domain.
    Url(HttpUrl),
    /// A page of a mini program.
    MiniProgram(MiniProgram),
    /// A page of a mini program, or the web page on clients that cannot open it.
    MiniProgramOrUrl(MiniProgram, HttpUrl),
}

/// A page of a mini program.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl TapTarget {
    /// The web page, if there is one.
    #[must_use]
    pub fn url(&self) -> Option<&HttpUrl> {
        match self {
            Self::Url(url) | Self::MiniProgramOrUrl(_, url) => Some(url),
            Self::MiniProgram(_) => None,
        }
    }

    /// The mini program, if there is one.
    #[must_use]
    pub fn mini_program(&self) -> Option<&MiniProgram> {
        match self {
            Self::MiniProgram(page) | Self::MiniProgramOrUrl(page, _) => Some(page),
            Self::Url(_) => None,
        }
    }

    pub(super) fn from_parts(url: Option<HttpUrl>, mini_program: Option<MiniProgram>) -> Option<Self> {
        match (mini_program, url) {
            (Some(page), Some(url)) => Some(Self::MiniProgramOrUrl(page, url)),
            (Some(page), None) => Some(Self::MiniProgram(page)),
            (None, Some(url)) => Some(Self::Url(url)),
            (None, None) => None,
        }
    }
}
