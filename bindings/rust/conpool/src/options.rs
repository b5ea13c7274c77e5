//! Options by name. The library knows them; this crate only writes values in its form.

use crate::{error::Error, raw::c_text, raw::checked, raw::create, raw::Handle, sys};
use std::time::Duration;

/// A value that an option can be set to.
///
/// Numbers are also sizes in bytes; durations keep their nanoseconds; slices, vectors and arrays are lists.
pub trait OptionValue {
    /// The value in the text form of the table of options.
    fn to_text(&self) -> String;
}

impl OptionValue for Duration {
    fn to_text(&self) -> String {
        format!("{}ns", self.as_nanos())
    }
}

macro_rules! lists {
    ($([$($size:tt)*] $type:ty;)*) => {$(
        impl<T: AsRef<str>, $($size)*> OptionValue for $type {
            fn to_text(&self) -> String {
                self.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(",")
            }
        }
    )*};
}

lists! { [] [T]; [] Vec<T>; [const N: usize] [T; N]; }

impl<T: OptionValue + ?Sized> OptionValue for &T {
    fn to_text(&self) -> String {
        (**self).to_text()
    }
}

macro_rules! displayed {
    ($($type:ty)*) => {$(
        impl OptionValue for $type {
            fn to_text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

displayed! { str String bool u8 u16 u32 u64 usize i32 i64 }

/// Options that were named, until the library judges them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options(Vec<(String, String)>);

impl Options {
    pub(crate) fn set(&mut self, name: &str, value: impl OptionValue) {
        self.0.push((name.to_owned(), value.to_text()));
    }

    /// The config, or NULL where nothing was set.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        if self.0.is_empty() {
            return Ok(Config(None));
        }
        // SAFETY: it has one out parameter.
        let config = create(|out, _| unsafe { sys::conpool_config_new(out) })?;
        for (name, value) in &self.0 {
            let name = c_text(name, sys::CONPOOL_E_UNKNOWN_OPTION)?;
            // SAFETY: the config is this thread's alone; texts are copied before it returns.
            checked(|error| unsafe {
                let (data, size) = (value.as_ptr().cast(), value.len());
                sys::conpool_config_set(config.get(), name.as_ptr().cast(), data, size, error)
            })?;
        }
        Ok(Config(Some(config)))
    }
}

/// A config or NULL.
pub(crate) struct Config(Option<Handle<sys::conpool_config>>);

impl Config {
    pub(crate) fn get(&self) -> *const sys::conpool_config {
        self.0.as_ref().map_or(std::ptr::null(), |config| config.get())
    }
}
