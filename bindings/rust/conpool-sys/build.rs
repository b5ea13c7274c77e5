//! Finds libconpool: in CONPOOL_LIB_DIR, else by pkg-config.

use std::env;
use std::process::Command;

const WANTED: &str = "conpool >= 0.1";

fn main() {
    for name in ["CONPOOL_LIB_DIR", "PKG_CONFIG", "PKG_CONFIG_PATH", "DOCS_RS"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    // docs.rs builds the documentation on a machine without the library, and links nothing.
    if env::var_os("DOCS_RS").is_some() {
        return;
    }
    if let Some(directory) = env::var_os("CONPOOL_LIB_DIR") {
        let directory = directory.to_str().expect("CONPOOL_LIB_DIR is not UTF-8");
        println!("cargo:rustc-link-search=native={directory}");
        println!("cargo:rustc-link-lib=dylib=conpool");
        return;
    }
    let libraries = pkg_config("--libs");
    for word in libraries.split_whitespace() {
        if let Some(directory) = word.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={directory}");
        } else if let Some(library) = word.strip_prefix("-l") {
            println!("cargo:rustc-link-lib=dylib={library}");
        }
    }
    // pkg-config leaves out -L for the system's own directories; dependants may want the header.
    let include = pkg_config("--variable=includedir");
    println!("cargo:include={}", include.trim());
}

fn pkg_config(what: &str) -> String {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let remedy = "install libconpool with its conpool.pc, add the directory of conpool.pc to \
                  PKG_CONFIG_PATH, or set CONPOOL_LIB_DIR to the directory of libconpool.so";
    match Command::new(&program).args([what, WANTED]).output() {
        Ok(done) if done.status.success() => String::from_utf8_lossy(&done.stdout).into_owned(),
        Ok(done) => panic!(
            "{program} does not find \"{WANTED}\": {}; {remedy}",
            String::from_utf8_lossy(&done.stderr).trim()
        ),
        Err(error) => panic!("{program} does not run: {error}; {remedy}"),
    }
}
