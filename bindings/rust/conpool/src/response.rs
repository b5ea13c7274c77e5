//! Responses, their headers, and the bytes that are received.

use crate::{error::Error, facts::Facts, raw::bytes, raw::text_of, raw::Handle, sys, sys::c_char};
use std::{borrow::Cow, ffi::CString, fmt, ops::Deref, ptr};

/// An HTTP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(i32);

impl Version {
    /// HTTP/1.0
    pub const HTTP_10: Version = Version(10);
    /// HTTP/1.1
    pub const HTTP_11: Version = Version(11);
    /// HTTP/2
    pub const HTTP_2: Version = Version(20);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (major, 0) if major >= 2 => write!(f, "HTTP/{major}"),
            (major, minor) => write!(f, "HTTP/{major}.{minor}"),
        }
    }
}

/// What a server answered.
///
/// A response that was delivered whole has its body; of one that is taken in parts, each part
/// knows what was known by then.
pub struct Response(Handle<sys::conpool_response>);

impl Response {
    pub(crate) fn new(handle: Handle<sys::conpool_response>) -> Self {
        Response(handle)
    }

    /// 200, 404, …
    pub fn status(&self) -> u16 {
        // SAFETY: responses are immutable, and this one lives.
        unsafe { sys::conpool_response_status(self.0.get()) as u16 }
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status())
    }

    /// The version that the server spoke.
    pub fn version(&self) -> Version {
        // SAFETY: responses are immutable, and this one lives.
        Version(unsafe { sys::conpool_response_version(self.0.get()) })
    }

    /// The first header of this name, upper and lower case alike, where it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (name, mut size) = (CString::new(name).ok()?, 0);
        // SAFETY: the bytes are borrowed until the response is freed, and it outlives the result.
        let value = unsafe {
            let (response, name) = (self.0.get(), name.as_ptr().cast());
            let data = sys::conpool_response_header(response, name, 0, &mut size);
            if data.is_null() {
                return None;
            }
            bytes(data.cast(), size)
        };
        std::str::from_utf8(value).ok()
    }

    /// The header lines.
    pub fn headers(&self) -> Headers<'_> {
        // SAFETY: responses are immutable, and this one lives.
        let count = unsafe { sys::conpool_response_header_count(self.0.get()) };
        Headers { response: self, count, trailers: false }
    }

    /// The trailer lines that came after the body.
    pub fn trailers(&self) -> Headers<'_> {
        // SAFETY: responses are immutable, and this one lives.
        let count = unsafe { sys::conpool_response_trailer_count(self.0.get()) };
        Headers { response: self, count, trailers: true }
    }

    /// The body; empty for one that was taken in parts.
    pub fn body(&self) -> &[u8] {
        let mut size = 0;
        // SAFETY: the bytes are borrowed until the response is freed, and it outlives the result.
        unsafe { bytes(sys::conpool_response_body(self.0.get(), &mut size), size) }
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.body())
    }

    /// How the response came to be: `sends` and `resends`, `address`, whether the connection was
    /// `reused`, `protocol`, when each phase ended (`resolved_ns`, `connected_ns`, `secured_ns`,
    /// `leased_ns`, `sent_ns`, `head_ns`, `total_ns`), sizes.
    ///
    /// # Errors
    ///
    /// When memory is short.
    pub fn facts(&self) -> Result<Facts, Error> {
        // SAFETY: responses are immutable, and this one lives.
        text_of(|out| unsafe { sys::conpool_response_describe(self.0.get(), out) }).map(Facts::new)
    }
}

impl AsRef<[u8]> for Response {
    fn as_ref(&self) -> &[u8] {
        self.body()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} {}, {} bytes)", self.version(), self.status(), self.body().len())
    }
}

/// The header or trailer lines of a response, in the order of their arrival.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    response: &'a Response,
    count: usize,
    trailers: bool,
}

type Line = unsafe extern "C" fn(*const sys::conpool_response, usize, *mut usize) -> *const c_char;

impl<'a> Headers<'a> {
    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn text(&self, get: Line, index: usize) -> &'a [u8] {
        let mut size = 0;
        // SAFETY: the bytes are borrowed until the response is freed, which `'a` comes before.
        unsafe { bytes(get(self.response.0.get(), index, &mut size).cast(), size) }
    }

    /// Name and value of each line. Names have the case that they came in.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + 'a {
        let (name, value): (Line, Line) = if self.trailers {
            (sys::conpool_response_trailer_name, sys::conpool_response_trailer_value)
        } else {
            (sys::conpool_response_header_name, sys::conpool_response_header_value)
        };
        let lines = *self;
        (0..self.count).map(move |index| {
            let name = std::str::from_utf8(lines.text(name, index)).unwrap_or_default();
            (name, lines.text(value, index))
        })
    }

    /// The value of the first line with this name, upper and lower case alike.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The values of all lines with this name, upper and lower case alike.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> + 'a {
        let wanted = name.to_owned();
        let lines = self.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(&wanted));
        lines.map(|(_, value)| value)
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.iter().map(|(name, value)| (name, String::from_utf8_lossy(value)));
        f.debug_list().entries(lines).finish()
    }
}

/// Bytes that were received. While a chunk lives, it counts against `pool.max_pinned` and holds
/// its server back: dropping it is what asks for more.
pub struct Chunk {
    handle: Handle<sys::conpool_chunk>,
    start: usize,
}

impl Chunk {
    pub(crate) fn new(handle: Handle<sys::conpool_chunk>) -> Self {
        Chunk { handle, start: 0 }
    }

    /// Forgets the first `count` bytes.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "{count} of {} bytes", self.len());
        self.start += count;
    }

    /// Copies what fits into `buffer`, and forgets it.
    pub(crate) fn take_into(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self[..count]);
        self.advance(count);
        count
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the bytes are valid until the chunk is freed, and it outlives the result.
        let all = unsafe {
            let chunk = self.handle.get();
            bytes(sys::conpool_chunk_data(chunk), sys::conpool_chunk_size(chunk))
        };
        &all[self.start..]
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

named_only!(Chunk);

/// A NULL config, for calls that set no options of their own.
pub(crate) const NO_CONFIG: *const sys::conpool_config = ptr::null();
