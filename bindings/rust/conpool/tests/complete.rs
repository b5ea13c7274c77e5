//! Nothing is missing: options, status codes, kinds of events and functions are compared with the
//! library's own tables and the header.

use conpool::{sys, Client, ErrorKind, Facts};
use std::collections::BTreeMap;
use std::ffi::CStr;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../..");

/// Whether the crate lies in its repository; a package from a registry has nothing to compare with.
fn in_repository() -> bool {
    let found = std::path::Path::new(ROOT).join("capi/symbols.txt").exists();
    if !found {
        println!("skipped: the repository is not here");
    }
    found
}

fn rows(what: &str) -> Vec<Facts> {
    let text = conpool::describe(what).unwrap();
    let lines = text.trim().trim_start_matches('[').trim_end_matches(']').lines();
    lines.map(|line| Facts::from_json(line.trim_end_matches(','))).collect()
}

#[test]
fn every_option_can_be_set() {
    let options = rows("options");
    assert!(options.len() > 100);
    for option in &options {
        let (name, value) = (option.text("name").unwrap(), option.text("default").unwrap());
        let set = Client::builder().option(&name, value.as_str()).build();
        assert!(set.is_ok(), "{name} = {value:?}: {set:?}");
        let client = Client::new().unwrap();
        let scope = option.text("scope").unwrap();
        let on_endpoint = client.endpoint("tcp://localhost:1").option(&name, value.as_str()).open();
        let on_request = client.endpoint("http://localhost:1").open().unwrap();
        let on_request = on_request.request("GET", "/").option(&name, value.as_str()).build();
        let refused = |error: conpool::Error| {
            assert_eq!(error.name(), "E_OPTION_SCOPE", "{name}: {error}");
            assert!(error.to_string().contains(&name), "{error}");
        };
        match on_endpoint {
            Ok(_) => assert_ne!(scope, "pool", "{name}"),
            Err(error) => {
                assert_eq!(scope, "pool", "{name}: {error}");
                refused(error);
            }
        }
        if let Err(error) = on_request.and_then(|request| request.stream().map(drop)) {
            assert!(!scope.contains("request"), "{name}: {error}");
            refused(error);
        } else {
            assert!(scope.contains("request"), "{name}");
        }
    }
}

/// `pub const NAME: type = value;` of the declarations.
fn constants() -> BTreeMap<String, i64> {
    let path = format!("{ROOT}/bindings/rust/conpool-sys/src/constants.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("pub const "));
    let pair = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let value = rest.split_once("= ")?.1.trim_end_matches(';').parse().ok()?;
        Some((name.to_owned(), value))
    };
    lines.filter_map(pair).collect()
}

#[test]
fn every_status_code_is_known() {
    if !in_repository() {
        return;
    }
    let statuses = rows("statuses");
    let constants = constants();
    assert!(statuses.len() > 80);
    for status in &statuses {
        let (name, value) = (status.text("name").unwrap(), status.number("value").unwrap());
        assert_eq!(constants.get(&format!("CONPOOL_{name}")), Some(&value));
        assert_eq!(conpool::status_text(value as i32), status.text("text").unwrap());
        // SAFETY: any code is allowed; the text is static.
        let told = unsafe { CStr::from_ptr(sys::conpool_status_name(value as i32).cast()) };
        assert_eq!(told.to_str().unwrap(), name);
        if value != 0 {
            assert_ne!(ErrorKind::of_code(value as i32), ErrorKind::Unknown, "{name}");
        }
    }
    let codes = constants.keys().filter(|name| name.starts_with("CONPOOL_E_")).count();
    assert_eq!(codes + 1, statuses.len());
}

#[test]
fn every_class_has_its_kind() {
    for (code, kind) in [
        (-199, ErrorKind::Usage),
        (-299, ErrorKind::System),
        (-399, ErrorKind::Dns),
        (-499, ErrorKind::Connect),
        (-599, ErrorKind::Tls),
        (-699, ErrorKind::Http),
        (-799, ErrorKind::Limit),
        (-999, ErrorKind::Ended),
        (-5000, ErrorKind::Unknown),
        (sys::CONPOOL_E_FORKED, ErrorKind::Forked),
        (sys::CONPOOL_E_BREAKER_OPEN, ErrorKind::Breaker),
        (sys::CONPOOL_E_CANCELLED, ErrorKind::Cancelled),
        (sys::CONPOOL_E_TIMEOUT, ErrorKind::Timeout),
        (sys::CONPOOL_E_CLOSED, ErrorKind::Closed),
    ] {
        assert_eq!(ErrorKind::of_code(code), kind, "{code}");
    }
}

/// The sources of the crate, without comments.
fn sources() -> String {
    let mut text = String::new();
    for file in std::fs::read_dir(format!("{ROOT}/bindings/rust/conpool/src")).unwrap() {
        let file = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in file.lines().filter(|line| !line.trim_start().starts_with("//")) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Whether sources name it, and not only what begins with it.
fn names(sources: &str, name: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|c: char| c == '_' || c.is_ascii_alphanumeric());
    sources.split(&format!("sys::{name}")).skip(1).any(|rest| !goes_on(rest))
}

/// Kinds whose events carry no object: their ops end, and that is all that is looked at.
const ENDS: &[&str] = &[
    "CONPOOL_EVENT_WRITE",
    "CONPOOL_EVENT_CLOSED",
    // What a READ says by this flag it also says by having no object.
    "CONPOOL_EVENT_EOF",
];

#[test]
fn every_kind_of_event_is_taken() {
    if !in_repository() {
        return;
    }
    let sources = sources();
    for name in constants().keys().filter(|name| name.starts_with("CONPOOL_EVENT_")) {
        assert!(names(&sources, name) != ENDS.contains(&name.as_str()), "{name}");
    }
}

/// Functions that the crate does without.
const UNUSED: &[&str] = &[
    // Where another thread drives the loop it answers E_BUSY for a request that it has started.
    "conpool_perform",
];

#[test]
fn every_function_is_used() {
    if !in_repository() {
        return;
    }
    let sources = sources();
    for name in std::fs::read_to_string(format!("{ROOT}/capi/symbols.txt")).unwrap().lines() {
        assert!(names(&sources, name) != UNUSED.contains(&name), "{name}");
    }
}
