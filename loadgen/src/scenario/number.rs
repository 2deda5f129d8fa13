//! Whole numbers from 1 to a limit of their own.

/// Declares the type of such a number: its limit, and how messages spell that.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $max:literal, $shown:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "u64", into = "u32")]
        #[schemars(with = "u32", extend("minimum" = 1, "maximum" = $max))]
        pub struct $name(u32);

        impl $name {
            /// The number.
            pub fn get(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = String;

            fn try_from(n: u64) -> Result<Self, String> {
                let fits = u32::try_from(n).ok().filter(|n| (1..=$max).contains(n));
                fits.map(Self).ok_or_else(|| format!("found {n}, expected 1 to {}", $shown))
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
