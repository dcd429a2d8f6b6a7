//! Lists of reasons: for what is dropped, rejected or not sent.

/// Defines an enumeration of reasons. One list names them, their counters, and what they mean to
/// operators: `visibility Name: Variant "counter" "Text." ...`.
#[macro_export]
macro_rules! reasons {
    ($(#[$about:meta])* $visibility:vis $name:ident:
        $($variant:ident $counter:literal $text:literal)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        $visibility enum $name {
            $(#[doc = $text] $variant,)*
        }

        impl $name {
            /// Every reason, in the order of their numbers.
            $visibility const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// How many there are.
            $visibility const COUNT: usize = Self::ALL.len();

            /// The counter's name.
            #[must_use]
            $visibility fn name(self) -> &'static str {
                match self { $(Self::$variant => $counter,)* }
            }

            /// What it means, for operators.
            #[must_use]
            $visibility fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}
