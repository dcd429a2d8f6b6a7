//! Values of settings: how each is read, judged and written back.

use alloc::format;
use alloc::string::{String, ToString};

use super::Settings;

/// Where a setting lies, and what it takes. A field is reached through a function, so that one
/// list serves reading and writing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// An integer within bounds.
    Integer { least: i32, most: i32, field: fn(&mut Settings) -> &mut i32 },
    /// The same, never negative.
    Whole { most: u32, field: fn(&mut Settings) -> &mut u32 },
    /// 0 to 3, where 1 and 2 stand for each other by how short memory is: it never is, so 2 turns
    /// into 1 at once.
    Mode { field: fn(&mut Settings) -> &mut i32 },
    /// A power of two.
    PowerOfTwo { field: fn(&mut Settings) -> &mut i32 },
    /// An unsigned 64-bit number.
    Long { field: fn(&mut Settings) -> &mut u64 },
    /// Two integers, the first less than the second unless that is 0.
    Pair { field: fn(&mut Settings) -> &mut [i32; 2] },
    /// A list of processors such as `0-2,5`.
    Processors { field: fn(&mut Settings) -> &mut u128 },
}

impl Kind {
    /// What it takes, for messages.
    pub(super) fn expected(self) -> String {
        match self {
            Self::Integer { least: i32::MIN, most: i32::MAX, .. } => "an integer".to_string(),
            Self::Integer { least, most, .. } => format!("an integer of {least} to {most}"),
            Self::Whole { most, .. } => format!("an integer of 0 to {most}"),
            Self::Mode { .. } => "0, 1, 2 or 3".to_string(),
            Self::PowerOfTwo { .. } => "a power of two, such as 1 or 8".to_string(),
            Self::Long { .. } => "an integer that is not negative".to_string(),
            Self::Pair { .. } => {
                "two integers like \"3 50\", the first less than the second unless that is 0"
                    .to_string()
            }
            Self::Processors { .. } => "processor numbers up to 127, like 0-2,5".to_string(),
        }
    }

    /// The value as it reads back.
    pub(super) fn read(self, settings: &Settings) -> String {
        // A copy, because fields are reached for writing.
        let mut settings = *settings;
        match self {
            Self::Integer { field, .. } | Self::Mode { field } | Self::PowerOfTwo { field } => {
                field(&mut settings).to_string()
            }
            Self::Whole { field, .. } => field(&mut settings).to_string(),
            Self::Long { field } => field(&mut settings).to_string(),
            Self::Pair { field } => {
                let [first, second] = *field(&mut settings);
                format!("{first}\t{second}")
            }
            Self::Processors { field } => write_processors(*field(&mut settings)),
        }
    }

    /// Changes the value; `None` when it does not take `text`, and nothing has changed then.
    pub(super) fn write(self, settings: &mut Settings, text: &str) -> Option<()> {
        let text = text.trim_matches([' ', '\t', '\n']);
        match self {
            Self::Integer { least, most, field } => {
                let value = integer(text)?;
                *field(settings) = (least..=most).contains(&value).then_some(value)?;
            }
            Self::Whole { most, field } => {
                let value = u32::try_from(integer(text)?).ok()?;
                *field(settings) = (value <= most).then_some(value)?;
            }
            Self::Mode { field } => {
                *field(settings) = match integer(text)? {
                    2 => 1,
                    value @ (0 | 1 | 3) => value,
                    _ => return None,
                };
            }
            Self::PowerOfTwo { field } => {
                let value = integer(text)?;
                *field(settings) = (value > 0 && value & (value - 1) == 0).then_some(value)?;
            }
            Self::Long { field } => *field(settings) = digits(text)?.parse().ok()?,
            Self::Pair { field } => {
                let mut numbers = text.split([' ', '\t', ',']).filter(|word| !word.is_empty());
                let first = integer(numbers.next()?)?;
                // The second number stays when only one is given.
                let second = numbers.next().map_or(Some(field(settings)[1]), integer)?;
                let sound = first >= 0 && second >= 0 && (first < second || second == 0);
                *field(settings) =
                    (sound && numbers.next().is_none()).then_some([first, second])?;
            }
            Self::Processors { field } => *field(settings) = read_processors(text)?,
        }
        Some(())
    }
}

/// A decimal number. Leading zeros are refused: the kernel takes such a number for octal.
fn integer(text: &str) -> Option<i32> {
    digits(text.strip_prefix('-').unwrap_or(text))?;
    text.parse().ok()
}

/// The text itself, if it is decimal digits as a number is written.
fn digits(text: &str) -> Option<&str> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_plain && (text == "0" || !text.starts_with('0'))).then_some(text)
}

fn read_processors(text: &str) -> Option<u128> {
    let number = |text: &str| digits(text)?.parse::<u32>().ok().filter(|&n| n < u128::BITS);
    let mut set = 0;
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        (first..=last).for_each(|n| set |= 1 << n);
    }
    Some(set)
}

fn write_processors(set: u128) -> String {
    let has = |n: u32| n < u128::BITS && set >> n & 1 == 1;
    let mut text = String::new();
    let mut n = 0;
    while n < u128::BITS {
        if has(n) {
            let first = n;
            while has(n + 1) {
                n += 1;
            }
            let comma = if text.is_empty() { "" } else { "," };
            text += &match n - first {
                0 => format!("{comma}{first}"),
                _ => format!("{comma}{first}-{n}"),
            };
        }
        n += 1;
    }
    text
}
