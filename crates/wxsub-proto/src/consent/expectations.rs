use super::{ConsentCallback, ConsentRequest, Reserved};
use crate::{Scene, TemplateId};

/// The values that a callback must have to belong to a request, for applications that keep the request in the user's
/// session. `None` is not checked. Without `reserved` a callback stays unproven.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallbackExpectations {
    /// The expected `reserved` value.
    pub reserved: Option<Reserved>,
    /// The requested scene.
    pub scene: Option<Scene>,
    /// The requested template.
    pub template_id: Option<TemplateId>,
}

/// A callback that does not belong to the request. Do not act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the callback's {field} is not the requested one; do not act on it, ask the user again")]
pub struct CallbackMismatch {
    field: &'static str,
}

impl CallbackMismatch {
    /// The field that differs.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl CallbackExpectations {
    /// Expects every value of the request.
    #[must_use]
    pub fn of(request: &ConsentRequest) -> Self {
        Self {
            reserved: request.reserved.clone(),
            scene: Some(request.scene),
            template_id: Some(request.template_id.clone()),
        }
    }

    /// Compares a callback with the expectations.
    ///
    /// # Errors
    /// [`CallbackMismatch`] names the first field that differs.
    pub fn check(&self, callback: &ConsentCallback) -> Result<(), CallbackMismatch> {
        let differs = |field| Err(CallbackMismatch { field });
        if let Some(expected) = &self.reserved
            && !callback.reserved().is_some_and(|given| same(expected.as_str(), given.as_str()))
        {
            return differs("reserved");
        }
        if self.scene.is_some_and(|expected| expected != callback.scene()) {
            return differs("scene");
        }
        if self.template_id.as_ref().is_some_and(|expected| expected != callback.template_id()) {
            return differs("template_id");
        }
        Ok(())
    }
}

/// Compares in constant time, so that timing does not reveal the expected value.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_compared() {
        let request = ConsentRequest::new("wx1", "T", 7).unwrap().reserved("proof").unwrap();
        let expected = CallbackExpectations::of(&request);
        let check = |text: &str| expected.check(&text.parse().unwrap()).map_err(|mismatch| mismatch.field());
        assert_eq!(check("action=cancel&template_id=T&scene=7&reserved=proof"), Ok(()));
        assert_eq!(check("action=cancel&template_id=T&scene=7&reserved=other"), Err("reserved"));
        assert_eq!(check("action=cancel&template_id=T&scene=7&reserved=null"), Err("reserved"));
        assert_eq!(check("action=cancel&template_id=T&scene=7"), Err("reserved"));
        assert_eq!(check("action=cancel&template_id=T&scene=8&reserved=proof"), Err("scene"));
        assert_eq!(check("action=cancel&template_id=U&scene=7&reserved=proof"), Err("template_id"));
        assert_eq!(
            CallbackExpectations::default().check(&"action=cancel&template_id=U&scene=8".parse().unwrap()),
            Ok(())
        );
    }
}
