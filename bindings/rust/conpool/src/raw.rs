//! What the C library gives: owned handles, texts and events, each freed once.

use crate::{engine::countdown, engine::MOMENT, error::Error, sys, sys::c_char, sys::c_void};
use std::{ffi::CStr, ffi::CString, ptr, ptr::NonNull, time::Duration};

/// An object of the C library with its free function.
///
/// # Safety
///
/// Every function that this crate calls on a shared `Handle` of the type is "any thread" in the
/// header; what is "one at a time" is called before the handle is shared or under a lock.
pub(crate) unsafe trait Raw: Sized {
    /// # Safety
    ///
    /// `this` came from the library and is not used afterwards.
    unsafe fn free(this: *mut Self);
}

macro_rules! raw {
    ($($(#[$why:meta])* $name:ident: $free:expr;)*) => {$(
        // SAFETY: see the line at each type below.
        unsafe impl Raw for sys::$name {
            unsafe fn free(this: *mut Self) {
                // SAFETY: the caller's promise.
                unsafe { $free(this) }
            }
        }
    )*};
}

raw! {
    // config_set and config_free are "one at a time": a config is made and used by one thread, or
    // lies in a Mutex.
    conpool_config: sys::conpool_config_free;
    // Everything on a pool is "any thread"; pool_free is "any thread of the program, once".
    conpool_pool: sys::conpool_pool_free;
    // Everything on an endpoint is "any thread" but its free, which has the handle to itself.
    conpool_endpoint: sys::conpool_endpoint_free;
    // queue_next, _fd, _wake and _close are "any thread"; its free has the handle to itself.
    conpool_queue: sys::conpool_queue_free;
    // The setters are "one at a time" and run while the request is built; start and perform are
    // "any thread".
    conpool_request: sys::conpool_request_free;
    // "Immutable; any thread."
    conpool_response: sys::conpool_response_free;
    // "Any thread", each of its functions.
    conpool_chunk: sys::conpool_chunk_free;
    // "Immutable; any thread."
    conpool_error: sys::conpool_error_free;
    // "Any thread": answer and fail; a lookup is moved, never shared.
    conpool_lookup: sys::conpool_lookup_free;
    // read, write, lend and describe are "any thread"; release is "any thread, once".
    conpool_connection: |lease| sys::conpool_connection_release(lease, sys::CONPOOL_BROKEN);
}

/// One object of the library, freed with the handle.
pub(crate) struct Handle<T: Raw>(NonNull<T>);

// SAFETY: "Any thread": the promise of `Raw`. No object of the library belongs to a thread.
unsafe impl<T: Raw> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T: Raw> Sync for Handle<T> {}

impl<T: Raw> Handle<T> {
    /// # Safety
    ///
    /// `pointer` is NULL or an object that nobody else frees.
    pub(crate) unsafe fn new(pointer: *mut T) -> Option<Self> {
        NonNull::new(pointer).map(Handle)
    }

    pub(crate) fn get(&self) -> *mut T {
        self.0.as_ptr()
    }

    /// The object without its owner: the caller frees it.
    pub(crate) fn into_raw(self) -> *mut T {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }
}

impl<T: Raw> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: the handle owned it, and is gone.
        unsafe { T::free(self.0.as_ptr()) }
    }
}

/// Runs a call that gives an object or an error.
pub(crate) fn create<T: Raw>(
    call: impl FnOnce(*mut *mut T, *mut *mut sys::conpool_error) -> sys::conpool_status,
) -> Result<Handle<T>, Error> {
    let mut object = ptr::null_mut();
    checked(|error| call(&mut object, error))?;
    // SAFETY: a `T **out` parameter gives an object to the caller.
    unsafe { Handle::new(object) }.ok_or_else(|| Error::of_status(sys::CONPOOL_E_INTERNAL))
}

/// Runs a call that succeeds or gives an error.
pub(crate) fn checked(
    call: impl FnOnce(*mut *mut sys::conpool_error) -> sys::conpool_status,
) -> Result<(), Error> {
    let mut error = ptr::null_mut();
    match call(&mut error) {
        0 => Ok(()),
        // SAFETY: on failure the parameter receives an error, or stays NULL.
        status => Err(Error::new(status, unsafe { Handle::new(error) })),
    }
}

/// Runs a call that gives a text.
pub(crate) fn text_of(call: impl FnOnce(*mut *mut c_char) -> i32) -> Result<String, Error> {
    let mut text = ptr::null_mut();
    match call(&mut text) {
        0 if !text.is_null() => {
            // SAFETY: texts that are returned end in NUL, and this one is ours to free.
            let copy = unsafe { borrowed(text) };
            // SAFETY: as above.
            unsafe { sys::conpool_text_free(text) };
            Ok(copy)
        }
        0 => Ok(String::new()),
        status => Err(Error::of_status(status)),
    }
}

/// A copy of a text that the library lends.
///
/// # Safety
///
/// `text` is NULL or ends in NUL.
pub(crate) unsafe fn borrowed(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text.cast()) };
    String::from_utf8_lossy(text.to_bytes()).into_owned()
}

/// The bytes that the library lends as a pointer and a size.
///
/// # Safety
///
/// They stay valid for `'a`.
pub(crate) unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(data, size) }
}

/// A text as a C string; the status is for one that has a NUL inside.
pub(crate) fn c_text(text: &str, status: sys::conpool_status) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::worded(status, format!("{text:?} has a NUL byte in it")))
}

/// A time limit in the library's form; without one it waits for ever.
pub(crate) fn nanoseconds(limit: Option<Duration>) -> i64 {
    limit.map_or(sys::CONPOOL_FOREVER, |limit| i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX))
}

/// A time that the library told; `None` for its -1.
pub(crate) fn duration(nanoseconds: i64) -> Option<Duration> {
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

pub(crate) const NO_EVENT: sys::conpool_event = sys::conpool_event {
    kind: sys::CONPOOL_EVENT_NONE,
    flags: 0,
    op: 0,
    user_data: 0,
    status: 0,
    reserved: 0,
    time_ns: 0,
    object: ptr::null_mut(),
    value: [0; 2],
};

/// An event that was taken, and what it carries until somebody takes that.
pub(crate) struct Event(sys::conpool_event);

// SAFETY: conpool_event_dispose is "any thread", and so is every object that an event carries.
unsafe impl Send for Event {}

impl Event {
    /// # Safety
    ///
    /// The library filled it in, and nobody else disposes of it.
    pub(crate) unsafe fn new(raw: sys::conpool_event) -> Self {
        Event(raw)
    }

    pub(crate) fn kind(&self) -> u32 {
        self.0.kind
    }

    pub(crate) fn token(&self) -> u64 {
        self.0.user_data
    }

    pub(crate) fn is_final(&self) -> bool {
        self.0.flags & sys::CONPOOL_EVENT_FINAL != 0
    }

    pub(crate) fn value(&self, index: usize) -> u64 {
        self.0.value[index]
    }

    fn take_object(&mut self) -> *mut c_void {
        std::mem::replace(&mut self.0.object, ptr::null_mut())
    }

    /// The object, for an event that did not fail and is of this kind.
    ///
    /// # Safety
    ///
    /// `T` is what the header says of this kind.
    pub(crate) unsafe fn object<T: Raw>(&mut self, kind: u32) -> Option<Handle<T>> {
        if self.0.kind != kind || self.0.status != 0 {
            return None;
        }
        // SAFETY: "belongs to the receiver", whose this is; the type is the caller's promise.
        unsafe { Handle::new(self.take_object().cast()) }
    }

    /// The event of an op that went well, or what it failed with.
    pub(crate) fn ok(mut self) -> Result<Event, Error> {
        if self.0.status == 0 {
            return Ok(self);
        }
        // SAFETY: "On failure (status < 0) object is a conpool_error or NULL."
        let error = unsafe { Handle::new(self.take_object().cast()) };
        let told = self.0.kind == sys::CONPOOL_EVENT_RESPONSE;
        let proof = if told { self.0.value[1] as i32 } else { sys::CONPOOL_PROOF_MAYBE_PROCESSED };
        Err(Error::new(self.0.status, error).with_proof(proof))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: a CONNECTION event that did not fail carries a conpool_connection.
        if let Some(lease) = unsafe { self.object(sys::CONPOOL_EVENT_CONNECTION) } {
            let lease: Handle<sys::conpool_connection> = lease;
            // SAFETY: the handle is given up. Nobody has used it: it is as good as it was.
            unsafe { sys::conpool_connection_release(lease.into_raw(), sys::CONPOOL_REUSABLE) }
        }
        // SAFETY: it is the library's own event; "harmless twice".
        unsafe { sys::conpool_event_dispose(&mut self.0) }
    }
}

/// Waits for an op without a queue. After `limit` it is cancelled, and fails with `E_TIMEOUT`
/// unless its result was faster.
///
/// When it returns, the op has ended: what it borrowed is the caller's again. (The `E_CLOSED` of a
/// pool that is freed meanwhile might come before. But whoever waits keeps the pool, except the
/// thread of an upload, whose request is cancelled before the pool goes: see the drop of `Op`.)
pub(crate) fn wait(op: sys::conpool_op, limit: Option<Duration>) -> Result<Event, Error> {
    let left = countdown(limit);
    let mut timeout = nanoseconds(limit);
    let mut cancelled = false;
    loop {
        let mut raw = NO_EVENT;
        // SAFETY: `raw` is an event to fill in.
        match unsafe { sys::conpool_op_wait(op, timeout, &mut raw) } {
            0 if cancelled && raw.status == sys::CONPOOL_E_CANCELLED => {
                // SAFETY: the library filled it in.
                drop(unsafe { Event::new(raw) });
                return Err(Error::of_status(sys::CONPOOL_E_TIMEOUT)
                    .with_proof(sys::CONPOOL_PROOF_MAYBE_PROCESSED));
            }
            // SAFETY: the library filled it in.
            0 => return unsafe { Event::new(raw) }.ok(),
            // With loop.drive = caller another thread runs the loop now, and with it this op. It
            // looks at no limit of ours.
            sys::CONPOOL_E_BUSY if cancelled || left() != Some(Duration::ZERO) => {
                std::thread::sleep(MOMENT);
                timeout = nanoseconds(left().filter(|_| !cancelled));
            }
            sys::CONPOOL_E_TIMEOUT | sys::CONPOOL_E_BUSY => {
                // SAFETY: any id is allowed.
                unsafe { sys::conpool_op_cancel(op) };
                cancelled = true;
                timeout = sys::CONPOOL_FOREVER;
            }
            status => return Err(Error::of_status(status)),
        }
    }
}
