//! The functions of the module API, as the server has set their pointers.
//!
//! Functions that every supported server has (7.0.15 up) are called through [`required!`]; newer ones are probed for with
//! [`probe!`], and absent ones are `None`.

/// The pointer to an API function, if the server has it.
macro_rules! probe {
    ($name:ident) => {{
        let pointer = &raw const redis_module::raw::$name;
        // SAFETY: written once by the server's loader, before any of our code runs.
        #[allow(unused_unsafe, reason = "it also stands within unsafe blocks")]
        let function = unsafe { *pointer };
        function
    }};
}
pub(super) use probe;

/// The pointer to an API function that every supported server has; `register` refuses to load without them.
macro_rules! required {
    ($name:ident) => {
        $crate::module::server::api::probe!($name).expect(concat!(stringify!($name), " is missing"))
    };
}
pub(super) use required;

/// Returns the name of a function that this server lacks and without which nothing works.
pub(crate) fn missing() -> Option<&'static str> {
    macro_rules! first_missing {
        ($($name:ident),* $(,)?) => {
            [$((stringify!($name), probe!($name).is_some())),*].into_iter().find(|(_, is_there)| !is_there)
        };
    }
    first_missing!(
        RedisModule_SetCommandInfo,
        RedisModule_EventLoopAdd,
        RedisModule_EventLoopAddOneShot,
        RedisModule_RegisterStringConfig,
        RedisModule_ACLCheckCommandPermissions,
        RedisModule_GetUsedMemoryRatio,
        RedisModule_GetClientUserNameById,
        RedisModule_SetDisconnectCallback,
        RedisModule_GetDetachedThreadSafeContext,
        RedisModule_ReplyWithMap,
        RedisModule_RedactClientCommandArgument,
    )
    .map(|(name, _)| name)
}
