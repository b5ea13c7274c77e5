//! The declarations equal the header, the golden list of symbols and the golden layout.

use conpool_sys as sys;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;

/// Whether the crate lies in its repository; a package from a registry has nothing to compare with.
fn in_repository() -> bool {
    let found =
        std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../capi")).exists();
    if !found {
        println!("skipped: the repository is not here");
    }
    found
}

fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The header without comments.
fn header() -> String {
    let text = read("../../../include/conpool/conpool.h");
    let mut code = String::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find("/*") {
        code.push_str(&rest[..start]);
        let end = rest[start..].find("*/").expect("a comment that ends") + start + 2;
        code.push(' ');
        rest = &rest[end..];
    }
    code + rest
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A C type as Rust writes it.
fn rust_type(c: &str) -> String {
    let stars = c.matches('*').count();
    let base = words(&c.replace('*', " "));
    let (constant, base) = match base.strip_prefix("const ") {
        Some(base) => (true, base.to_owned()),
        None => (false, base),
    };
    let own = match base.as_str() {
        "void" => "c_void",
        "char" => "c_char",
        "uint8_t" => "u8",
        "uint16_t" => "u16",
        "uint32_t" => "u32",
        "int32_t" => "i32",
        "int64_t" => "i64",
        "uint64_t" => "u64",
        "size_t" => "usize",
        other => other,
    };
    let pointee = if constant { "*const " } else { "*mut " };
    match stars {
        0 => own.to_owned(),
        _ => format!("{}{pointee}{own}", "*mut ".repeat(stars - 1)),
    }
}

/// `name(type, type) -> type` of each function of the header.
fn functions_of_header() -> BTreeMap<String, String> {
    let text = header();
    let mut found = BTreeMap::new();
    for part in text.split("\nCONPOOL_API ").skip(1) {
        let declaration = words(part.split(';').next().unwrap());
        let (before, after) = declaration.split_once('(').unwrap();
        let (result, name) = before.split_at(before.rfind("conpool_").unwrap());
        let list = after.rsplit_once(')').unwrap().0;
        let parameters: Vec<String> = match list {
            "void" => Vec::new(),
            _ => list.split(',').map(|one| rust_type(&without_name(one))).collect(),
        };
        let result = match rust_type(result).as_str() {
            "c_void" => String::new(),
            result => format!(" -> {result}"),
        };
        found.insert(name.to_owned(), format!("({}){result}", parameters.join(", ")));
    }
    found
}

fn without_name(parameter: &str) -> String {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    parameter.trim_end_matches(name).to_owned()
}

/// The same of the crate.
fn functions_of_crate() -> BTreeMap<String, String> {
    let text = read("src/lib.rs");
    let block = text.split("extern \"C\" {").nth(1).expect("the block of functions");
    let mut found = BTreeMap::new();
    for part in block.split("pub fn ").skip(1) {
        let declaration = words(part.split(';').next().unwrap());
        let (name, after) = declaration.split_once('(').unwrap();
        let (list, result) = after.rsplit_once(')').unwrap();
        let of = |one: &str| one.split_once(": ").unwrap().1.to_owned();
        let parts = list.split(',').map(str::trim).filter(|one| !one.is_empty());
        let parameters: Vec<String> = parts.map(of).collect();
        let result = if result.is_empty() { String::new() } else { format!(" {}", result.trim()) };
        found.insert(name.to_owned(), format!("({}){result}", parameters.join(", ")));
    }
    found
}

#[test]
fn functions_are_those_of_the_header() {
    if !in_repository() {
        return;
    }
    let (header, own) = (functions_of_header(), functions_of_crate());
    for (name, signature) in &header {
        assert_eq!(own.get(name), Some(signature), "{name}");
    }
    assert_eq!(own.keys().collect::<Vec<_>>(), header.keys().collect::<Vec<_>>());
}

#[test]
fn functions_are_the_exported_symbols() {
    if !in_repository() {
        return;
    }
    let symbols = read("../../../capi/symbols.txt");
    let symbols: BTreeSet<String> = symbols.lines().map(str::to_owned).collect();
    assert!(symbols.len() > 80);
    assert_eq!(functions_of_crate().into_keys().collect::<BTreeSet<_>>(), symbols);
}

/// `CONPOOL_NAME` → value, of every enum of the header.
fn constants_of_header() -> BTreeMap<String, i64> {
    let text = header();
    let mut found = BTreeMap::new();
    for part in text.split("enum {").skip(1) {
        for line in part.split('}').next().unwrap().split(',') {
            let (name, value) = line.split_once('=').expect("every constant has its value");
            found.insert(name.trim().to_owned(), value.trim().parse().unwrap());
        }
    }
    for name in ["MAJOR", "MINOR", "PATCH"] {
        let name = format!("CONPOOL_VERSION_{name}");
        let line = text.lines().find(|line| line.contains(&format!("#define {name} "))).unwrap();
        found.insert(name, line.rsplit(' ').next().unwrap().parse().unwrap());
    }
    found
}

#[test]
fn constants_are_those_of_the_header() {
    if !in_repository() {
        return;
    }
    let text = read("src/constants.rs");
    let mut own = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("pub const ")) {
        let (name, rest) = line.split_once(':').unwrap();
        let value = rest.split_once("= ").unwrap().1.trim_end_matches(';');
        if let Ok(value) = value.parse::<i64>() {
            own.insert(name.to_owned(), value);
        }
    }
    // The two that the header writes as casts: compared with the golden layout.
    own.remove("CONPOOL_FOREVER");
    assert_eq!(own, constants_of_header());
    assert!(own.len() > 120);
}

macro_rules! field {
    ($lines:ident, $name:ident) => {
        let event = mem::MaybeUninit::<sys::conpool_event>::uninit();
        let base = event.as_ptr();
        // SAFETY: addresses are taken, and nothing is read.
        let field = unsafe { std::ptr::addr_of!((*base).$name) };
        let offset = field as usize - base as usize;
        let size = size_behind(field);
        $lines.push(format!("conpool_event.{} {offset} {size}", stringify!($name)));
    };
}

fn size_behind<T>(_: *const T) -> usize {
    mem::size_of::<T>()
}

#[test]
fn layout_is_the_golden_one() {
    if !in_repository() {
        return;
    }
    let mut lines = vec![format!("sizeof conpool_event {}", mem::size_of::<sys::conpool_event>())];
    field!(lines, kind);
    field!(lines, flags);
    field!(lines, op);
    field!(lines, user_data);
    field!(lines, status);
    field!(lines, reserved);
    field!(lines, time_ns);
    field!(lines, object);
    field!(lines, value);
    lines.push(format!("sizeof conpool_op {}", mem::size_of::<sys::conpool_op>()));
    lines.push(format!("sizeof conpool_status {}", mem::size_of::<sys::conpool_status>()));
    lines.push(format!("CONPOOL_FOREVER {}", sys::CONPOOL_FOREVER));
    lines.push(format!("CONPOOL_NUL_TERMINATED {}", sys::CONPOOL_NUL_TERMINATED as isize));
    let golden = read("../../../capi/layout.txt");
    assert_eq!(lines, golden.lines().collect::<Vec<_>>());
}

#[test]
fn the_library_answers() {
    // SAFETY: no parameters.
    let version = unsafe { sys::conpool_version() };
    assert_eq!(version >> 16, sys::CONPOOL_VERSION_MAJOR);
}
