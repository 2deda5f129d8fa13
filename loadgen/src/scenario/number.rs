//! Whole numbers from 1 to a limit of their own.

/// Declares the type of such a number: its limit, and how messages spell that.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $max:literal, $shown:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "f64", into = "u32")]
        #[schemars(with = "u32", extend("minimum" = 1, "maximum" = $max))]
        pub struct $name(u32);

        impl $name {
            /// The number.
            pub fn get(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = String;

            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole, and within its limits"
            )]
            fn try_from(n: f64) -> Result<Self, String> {
                let is_whole = n.fract() == 0.0;
                if is_whole && (1.0..=f64::from($max)).contains(&n) {
                    return Ok(Self(n as u32));
                }
                let what = if is_whole { "" } else { "a whole number from " };
                Err(format!("found {n}, expected {what}1 to {}", $shown))
            }
        }

        impl From<$name> for u32 {
            fn from(n: $name) -> Self {
                n.0
            }
        }
    };
}

pub(super) use number;
