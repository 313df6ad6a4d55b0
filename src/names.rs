//! Enums whose variants have names: [`named!`] makes the enum, `name`, `Display` and `FromStr` from one list.

/// Makes an enum. Each variant has a name, and optional aliases that are read but never written.
macro_rules! named {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $enum:ident {
            $($(#[$note:meta])* $variant:ident = $name:literal $(| $alias:literal)*),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visibility enum $enum {
            $($(#[$note])* $variant,)+
        }

        impl $enum {
            /// The name of the variant, as in arguments, output and files.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $enum {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name $(| $alias)* => Ok(Self::$variant),)+
                    _ => Err($crate::names::unknown(text, &[$($name),+])),
                }
            }
        }
    };
}

pub(crate) use named;

/// Says that a text is not one of the known names.
pub(crate) fn unknown(found: &str, known: &[&str]) -> String {
    format!("{found:?} is not one of {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    named! {
        #[derive(Clone, Copy, Debug, PartialEq)]
        enum Colour {
            Red = "red",
            Grey = "grey" | "gray",
        }
    }

    #[test]
    fn a_name_is_read_as_it_is_written_and_an_alias_is_read_too() {
        assert_eq!("red".parse(), Ok(Colour::Red));
        assert_eq!("gray".parse(), Ok(Colour::Grey));
        assert_eq!(format!("{:>5}", Colour::Grey), " grey");
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let error = "Red".parse::<Colour>().unwrap_err();
        assert_eq!(error, "\"Red\" is not one of red, grey");
    }
}
