//! The program as resolver of names.

use crate::{
    client::status, client::Client, engine::contained, engine::lock, engine::start_thread,
    engine::unless_busy, engine::Engine, error::Error, raw::borrowed, raw::Event, raw::Handle,
    raw::NO_EVENT, sys,
};
use std::{net::IpAddr, sync::Arc};

/// A name to resolve, and the family of addresses that is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Lookup {
    /// The name, without a trailing dot.
    pub name: String,
    /// Whether addresses of IPv6 are asked for, and not those of IPv4.
    pub ipv6: bool,
}

impl Client {
    /// Makes a function of the program the pool's resolver, which needs `dns.backend = queue`.
    ///
    /// It is called on a thread of its own, one lookup after the other. Addresses of the other
    /// family are left out; without any, the name has none. An error's text goes into the ledger
    /// of what needed the name.
    ///
    /// The function lives as long as the pool. One that keeps a clone of this client, a lease or
    /// anything else of the pool keeps the pool with its threads to the end of the process.
    ///
    /// # Errors
    ///
    /// For a client with another `dns.backend`, and when the thread does not start.
    pub fn resolve_with<F, E>(&self, mut resolve: F) -> Result<(), Error>
    where
        F: FnMut(&Lookup) -> Result<Vec<IpAddr>, E> + Send + 'static,
        E: std::fmt::Display,
    {
        self.pool.check()?;
        let engine = Engine::new(&self.pool)?;
        // SAFETY: pool and queue live; the pool closes the queue before it is freed.
        status(unsafe {
            sys::conpool_pool_set_resolver(self.pool.handle.get(), engine.queue(), 0)
        })?;
        lock(&self.pool.closing).push(Arc::clone(&engine));
        let serve = move || {
            while let Ok(asked) = unless_busy(next(&engine)) {
                asked.flatten().into_iter().for_each(|asked| answer(asked, &mut resolve));
            }
        };
        start_thread("conpool-resolver", serve)
    }
}

/// The next lookup; an error once the queue is closed.
fn next(engine: &Arc<Engine>) -> Result<Option<Handle<sys::conpool_lookup>>, Error> {
    let mut raw = NO_EVENT;
    // SAFETY: there is room for one event, and the queue lives.
    let count =
        unsafe { sys::conpool_queue_next(engine.queue(), &mut raw, 1, sys::CONPOOL_FOREVER) };
    usize::try_from(count).map_err(|_| Error::of_status(count))?;
    // SAFETY: the library filled it in, or it is empty; a LOOKUP event carries a conpool_lookup.
    Ok(unsafe { Event::new(raw).object(sys::CONPOOL_EVENT_LOOKUP) })
}

fn answer<E: std::fmt::Display>(
    asked: Handle<sys::conpool_lookup>,
    resolve: &mut impl FnMut(&Lookup) -> Result<Vec<IpAddr>, E>,
) {
    // SAFETY: the lookup lives; its name is copied.
    let lookup = unsafe {
        Lookup {
            name: borrowed(sys::conpool_lookup_name(asked.get())),
            ipv6: sys::conpool_lookup_family(asked.get()) == 6,
        }
    };
    let resolved = contained(|| resolve(&lookup).map_err(|error| error.to_string()));
    let resolved = resolved.unwrap_or_else(|| Err("the resolver panicked".to_owned()));
    let answer = resolved.map(|addresses| {
        let wanted = addresses.iter().filter(|address| address.is_ipv6() == lookup.ipv6);
        wanted.map(ToString::to_string).collect::<Vec<_>>().join(",")
    });
    let asked = asked.into_raw();
    // SAFETY: the handle was given up: answer and fail free the lookup where they succeed, and
    // where they do not it is freed here.
    unsafe {
        let status = match answer {
            Ok(list) => sys::conpool_lookup_answer(asked, list.as_ptr().cast(), list.len()),
            Err(words) => sys::conpool_lookup_fail(asked, words.as_ptr().cast(), words.len()),
        };
        if status != 0 {
            sys::conpool_lookup_free(asked);
        }
    }
}
