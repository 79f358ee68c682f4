//! The store whose nodes requests go to, where `rmr.provider` is `placement`.
//!
//! The node that we live in is spoken to like any other of them, over a socket: what its server would run in process would
//! pass by those who watch over the copies of a key.
//!
//! Settings are the addresses of the configuration node and the name of the store, as texts.

#[cfg(feature = "placement")]
pub(super) use of_settings::{changes, check, forget, place, provide};
#[cfg(not(feature = "placement"))]
pub(super) use without::{changes, check, forget, place, provide};

#[cfg(feature = "placement")]
mod of_settings {
    use std::future::Future;
    use std::sync::{Mutex, PoisonError};

    use crate::engine::Builder;
    use crate::error::Error;
    use crate::link::LinkOptions;
    use crate::placement::Store;
    pub(in crate::module) use crate::placement::changes;
    use crate::reply::Reply;

    /// The store, and the settings that it was made of.
    static STORE: Mutex<Option<((String, String), Store)>> = Mutex::new(None);

    fn make(
        (addresses, name): &(String, String),
        links: impl Fn() -> LinkOptions + Send + Sync + 'static,
    ) -> Result<Store, Error> {
        let addresses: Vec<String> = addresses.split(',').map(|address| address.trim().to_owned()).collect();
        Store::with_own_links(&addresses, Some(name.as_str()).filter(|name| !name.is_empty()), links)
    }

    /// Returns the store of these settings.
    fn store(
        wanted: (String, String),
        links: impl Fn() -> LinkOptions + Send + Sync + 'static,
    ) -> Result<Store, Error> {
        let mut known = STORE.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, store)) if *of == wanted => Ok(store.clone()),
            _ => Ok(known.insert((wanted.clone(), make(&wanted, links)?)).1.clone()),
        }
    }

    /// Returns why these settings name no store.
    pub(in crate::module) fn check(addresses: &str, name: &str) -> Result<(), String> {
        make(&(addresses.to_owned(), name.to_owned()), LinkOptions::new).map(drop).map_err(|error| error.to_string())
    }

    /// Has an engine find the nodes of the store, and keys on them. Writes go to the proxies that order them.
    pub(in crate::module) fn provide(
        builder: Builder,
        settings: (String, String),
        links: LinkOptions,
        own_links: impl Fn() -> LinkOptions + Send + Sync + 'static,
    ) -> Result<Builder, Error> {
        let store = store(settings, own_links)?;
        Ok(builder.links(store.links(links)).provider(store))
    }

    /// Carries out what stands behind `RMR.PLACE`.
    pub(in crate::module) fn place(
        settings: (String, String),
        words: Vec<Vec<u8>>,
    ) -> Result<impl Future<Output = Result<Reply, Error>> + Send + 'static, Error> {
        let store = store(settings, LinkOptions::new)?;
        Ok(async move {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            store.place(&words).await
        })
    }

    /// Lets go of the store, as the module is unloaded.
    pub(in crate::module) fn forget() {
        *STORE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(not(feature = "placement"))]
mod without {
    use std::future::{Ready, ready};

    use crate::engine::Builder;
    use crate::error::Error;
    use crate::link::LinkOptions;
    use crate::reply::Reply;

    const WHY: &str = "this module was built without placement";

    pub(in crate::module) fn changes(_: &[&[u8]]) -> bool {
        false
    }

    pub(in crate::module) fn check(_: &str, _: &str) -> Result<(), String> {
        Err(WHY.into())
    }

    pub(in crate::module) fn provide(
        _: Builder,
        _: (String, String),
        _: LinkOptions,
        _: impl Fn() -> LinkOptions,
    ) -> Result<Builder, Error> {
        Err(Error::Refused(WHY.into()))
    }

    pub(in crate::module) fn place(_: (String, String), _: Vec<Vec<u8>>) -> Result<Ready<Result<Reply, Error>>, Error> {
        Ok(ready(Err(Error::Refused(WHY.into()))))
    }

    pub(in crate::module) fn forget() {}
}
