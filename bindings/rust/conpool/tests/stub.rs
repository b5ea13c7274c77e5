//! The binding meets an older, a newer and another library: it refuses with a sentence, or works.

use conpool::{Client, Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn main() {
    if std::env::args().any(|argument| argument == "--with-the-stub") {
        return report();
    }
    if !Path::new(HERE).join("../../../capi/symbols.txt").exists() {
        return println!("skipped: the repository is not here");
    }
    let directory = std::env::temp_dir().join(format!("conpool-stub-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    match compile(&directory) {
        Ok(()) => check(&directory),
        Err(reason) => println!("skipped: {reason}"),
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Builds the stub, and beside it every other function as one that nobody should call.
fn compile(directory: &Path) -> Result<(), String> {
    let stub = std::fs::read_to_string(format!("{HERE}/tests/stub.c")).unwrap();
    let symbols = std::fs::read_to_string(format!("{HERE}/../../../capi/symbols.txt")).unwrap();
    let others = symbols.lines().filter(|name| !stub.contains(&format!("{name}(")));
    let rest: String = others.map(|name| format!("long {name}(void) {{ return 0; }}\n")).collect();
    let rest_file = directory.join("rest.c");
    std::fs::write(&rest_file, rest).unwrap();
    let done = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,-soname,libconpool.so.0"])
        .arg(format!("-Wl,--version-script={HERE}/../../../capi/conpool.map"))
        .arg(format!("-I{HERE}/../../../include"))
        .arg("-o")
        .arg(directory.join("libconpool.so.0"))
        .args([PathBuf::from(format!("{HERE}/tests/stub.c")), rest_file])
        .output()
        .map_err(|error| format!("cc does not run: {error}"))?;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

fn run(directory: &Path, version: &str, kind: &str, status: &str) -> String {
    let done = Command::new(std::env::current_exe().unwrap())
        .arg("--with-the-stub")
        .env("LD_LIBRARY_PATH", directory)
        // A library that is put before all others would stand in for the stub.
        .env_remove("LD_PRELOAD")
        .envs([("STUB_VERSION", version), ("STUB_END_KIND", kind), ("STUB_END_STATUS", status)])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{version}: {:?}\n{output}{errors}", done.status);
    output
}

fn check(directory: &Path) {
    for version in ["0.0.9", "1.0.0", "7.1.2"] {
        let output = run(directory, version, "6", "0");
        assert_eq!(
            output,
            format!(
                "refused Library: the crate conpool 0.1.0 needs libconpool 0.1.0 or a later 0.x, \
                 and the one that was loaded is {version}\n"
            )
        );
    }
    // A newer one of the same major works, whatever it tells: unknown kinds are disposed, unknown
    // codes have the kind of their class.
    for (version, kind, status, end) in [
        ("0.1.0", "6", "-450", "Connect -450: status -450 of a newer library"),
        ("0.1.7", "6", "-950", "Ended -950: status -950 of a newer library"),
        ("0.9.0", "6", "-1234", "Unknown -1234: status -1234 of a newer library"),
        ("0.9.0", "104", "-777", "Limit -777: status -777 of a newer library"),
        ("0.9.0", "6", "0", "System -201: status -201 of a newer library"),
        ("0.9.0", "105", "0", "System -201: status -201 of a newer library"),
    ] {
        let output = run(directory, version, kind, status);
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines[0], "send Connect -499: status -499 of a newer library", "{output}");
        assert_eq!(lines[1], format!("send_async {end}"), "{version} {kind} {status}");
        // Of each call three events with an object, and a fourth where the end had one.
        let with_end = if kind == "6" || status.starts_with('-') { 0 } else { 1 };
        assert_eq!(lines.last().unwrap(), &format!("disposed {}", 2 * (3 + with_end)), "{output}");
    }
}

fn words(error: &Error) -> String {
    format!("{:?} {}: {error}", error.kind(), error.code())
}

/// What the process with the stub prints.
fn report() {
    let client = match Client::new() {
        Ok(client) => client,
        Err(error) => return println!("refused {:?}: {error}", error.kind()),
    };
    let queue = client.queue().unwrap();
    println!("send {}", words(&client.get("http://x/").send().unwrap_err()));
    let call = queue.client().get("http://x/").send_async();
    println!("send_async {}", words(&queue.run(call).unwrap().unwrap_err()));
    let mut exchange = client.get("http://x/").stream().unwrap();
    let head = exchange.head().map(|head| head.status());
    assert_ne!(head.unwrap_err().kind(), ErrorKind::Library);
    println!("disposed {}", conpool::describe("").unwrap());
    std::process::exit(0);
}
