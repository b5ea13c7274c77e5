//! Facts that the library tells as one JSON object.

use std::fmt;

/// What the library tells of a response, a connection or an event: one JSON object.
///
/// `Display` gives the JSON text for a parser of the program's own; the other methods read single
/// members of the outermost object, which is enough for most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts(String);

impl Facts {
    pub(crate) fn new(json: String) -> Self {
        Facts(json)
    }

    /// Facts that were kept as text.
    pub fn from_json(json: &str) -> Self {
        Facts(json.to_owned())
    }

    /// The whole JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// A member's value as JSON text, whatever its type.
    pub fn get(&self, name: &str) -> Option<&str> {
        let text = self.0.as_str();
        let mut at = 1;
        while at < text.len() {
            at += text.get(at..)?.find('"')?;
            let key = value_end(text, at)?;
            let value = key + text[key..].find(':')? + 1;
            let end = value_end(text, value)?;
            if &text[at + 1..key - 1] == name {
                return Some(text[value..end].trim());
            }
            at = end;
        }
        None
    }

    /// A member that is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        unquoted(self.get(name)?)
    }

    /// A member that is a whole number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// A member that is true or false.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)?.parse().ok()
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the value that begins at `start` ends.
fn value_end(text: &str, start: usize) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (index, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b',' | b'}' | b']' if depth == 0 => return Some(index),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if matches!(byte, b'"' | b'}' | b']') && depth == 0 && !quoted {
            return Some(index + 1);
        }
    }
    None
}

fn unquoted(json: &str) -> Option<String> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.next()? {
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'u' => {
                // Of several in a row two may be one character.
                let mut units = vec![unit(&mut characters)?];
                while let Some(rest) = characters.as_str().strip_prefix("\\u") {
                    characters = rest.chars();
                    units.push(unit(&mut characters)?);
                }
                text.push_str(&String::from_utf16_lossy(&units));
            }
            other => text.push(other),
        }
    }
    Some(text)
}

fn unit(characters: &mut std::str::Chars<'_>) -> Option<u16> {
    let digits: String = characters.take(4).collect();
    u16::from_str_radix(digits.get(..4)?, 16).ok()
}
