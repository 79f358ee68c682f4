/* rmr.h: map/reduce over all shards, for Redis modules written in C.
 *
 * librmr.so offers its engine to the other modules of the server that it is loaded into. A module binds the functions
 * when it is loaded, then sends commands to the shards that hold the data, and reduces what they answer:
 *
 *     #include "redismodule.h"
 *     #include "rmr.h"
 *
 *     int Sum(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
 *         RMR_Request *request = RMR_CreateMap();
 *         const char *get[] = {"GET", NULL};
 *         for (int i = 1; i < argc; i++) {
 *             size_t lengths[2] = {3, 0};
 *             get[1] = RedisModule_StringPtrLen(argv[i], &lengths[1]);
 *             RMR_AddCommand(request, 1, 2, get, lengths);
 *         }
 *         RMR_ReduceWith(request, "SUM", NULL, 0);
 *         return RMR_Send(ctx, request);
 *     }
 *
 *     int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
 *         if (RedisModule_Init(ctx, "sums", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR) return REDISMODULE_ERR;
 *         if (RMR_Init(ctx, "sums") == REDISMODULE_ERR) return REDISMODULE_ERR;
 *         return RedisModule_CreateCommand(ctx, "sums.sum", Sum, "readonly", 0, 0, 0);
 *     }
 *
 *     int RedisModule_OnUnload(RedisModuleCtx *ctx) { return RMR_Unregister(); }
 *
 * docs/reference/c-api.md says more; examples/c/longest.c is a whole module. Three rules hold throughout:
 *
 * - Threads. Functions that take a RedisModuleCtx are for the server's main thread, or for one that holds its lock. All
 *   others may be called from any thread, an object by one thread at a time. Callbacks are called on any thread, the main
 *   thread too, several at once, but of one partial or one request by one thread at a time. They must not wait, since all
 *   requests wait with them, and must not call the server unless what they call may be called from any thread.
 * - Ownership. What a function here creates is its caller's, until it is handed to a function that takes it over, which
 *   its comment says. Pointers into a reply are good for as long as the reply is, and is not changed.
 * - Unloading. The server does not unload rmr while a module that uses it is loaded. A module that uses it calls
 *   RMR_Unregister when it is unloaded; if it does not, rmr itself keeps the module's code in memory until nobody needs
 *   it any more, and forgets what the module has registered.
 */
#ifndef RMR_H
#define RMR_H

#include <stddef.h>

#include "redismodule.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header. It grows with what is added; rmr says which versions it serves. */
#define RMR_API_VERSION 1

#define RMR_OK 0
#define RMR_ERR 1

/* A value: a reply of a shard, the result of a reducer. */
typedef struct RMR_Reply RMR_Reply;

/* Something to be sent: a map, a fan-out or a flow. */
typedef struct RMR_Request RMR_Request;

/* Keys, each with a value: a batch of what a flow works on. */
typedef struct RMR_Records RMR_Records;

/* Bytes that a reducer gives. */
typedef struct RMR_Buffer RMR_Buffer;

enum RMR_ReplyKind {
    RMR_REPLY_NULL,
    RMR_REPLY_INTEGER,
    RMR_REPLY_DOUBLE,
    RMR_REPLY_BOOLEAN,
    /* Any kind of string. */
    RMR_REPLY_STRING,
    /* An error, its code first: "WRONGTYPE Operation against ...". */
    RMR_REPLY_ERROR,
    RMR_REPLY_ARRAY,
    RMR_REPLY_SET,
    /* Its elements are a key, its value, the next key and so on. */
    RMR_REPLY_MAP
};

/* Where a reply comes from. */
typedef struct RMR_Origin {
    /* The place of its command in the map, or of its node in the fan-out, from 0 on; for reducers that need places. */
    unsigned int place;
    /* The key that its command is routed by; for reducers that need keys. Not ended by a zero. */
    const char *key;
    size_t key_length;
} RMR_Origin;

/* take looks at places. */
#define RMR_NEEDS_PLACES 1
/* take looks at keys. */
#define RMR_NEEDS_KEYS 2

/* A reducer whose work can be split: where rmr.pushdown is on, each shard that has rmr and this module reduces its own
 * replies, and sends what they come to; elsewhere the replies come to the node that was asked. Shares come in any order,
 * and the answer must not depend on it.
 *
 * A partial is what a part of the replies comes to, whatever it is in memory. rmr never looks into it. */
typedef struct RMR_Reducer {
    /* RMR_API_VERSION. */
    int version;
    /* The name, the same on all nodes: letters, digits, '-', '_', '.', up to 64 bytes. Change it with the meaning or the form
     * of what encode gives. */
    const char *name;
    /* RMR_NEEDS_PLACES, RMR_NEEDS_KEYS, or 0. */
    int flags;
    /* Given to create. */
    void *data;
    /* Makes the partial of no replies. The arguments are what RMR_ReduceWith was given. NULL: they mean nothing. */
    void *(*create)(const char *arguments, size_t length, void *data);
    /* Takes one reply, which is never an error. RMR_ERR: it cannot take a reply of this type, and the request is an error. */
    int (*take)(void *partial, const RMR_Origin *origin, const RMR_Reply *reply);
    /* Adds what another part of the replies comes to. */
    void (*combine)(void *partial, const void *other);
    /* Says the partial in bytes, by RMR_Append. */
    void (*encode)(const void *partial, RMR_Buffer *out);
    /* Makes a partial that was just created into the one that these bytes say. They come from another node: RMR_ERR for
     * bytes that are no partial. */
    int (*decode)(void *partial, const char *bytes, size_t length);
    /* Makes the result, which rmr takes over. */
    RMR_Reply *(*finish)(const void *partial);
    void (*free)(void *partial);
} RMR_Reducer;

/* A step of flows: shards that have rmr and this module take it where the records are, elsewhere they come to the node that
 * was asked. It runs on a thread of its own, which it may keep waiting. */
typedef struct RMR_Step {
    /* RMR_API_VERSION. */
    int version;
    /* The name, the same on all nodes, as that of a reducer. */
    const char *name;
    /* Given to run. */
    void *data;
    /* Makes new records of a batch, by RMR_AddRecord: as many, fewer or more. The arguments are what RMR_AddStep was given.
     * Gives NULL, or an error that the flow ends in, which rmr takes over. */
    RMR_Reply *(*run)(const RMR_Records *records, RMR_Records *out, const char *arguments, size_t length, void *data);
} RMR_Step;

/* Gets all replies of a request, as one array: of a map in the order of its commands, of a fan-out in the order of the
 * shards; of a flow a map of key to value, in no order, with nulls where nothing was done for the keys. Gives the reply to the client; or NULL and, in next, one more request, whose replies go where it says. rmr takes
 * over either. */
typedef RMR_Reply *(*RMR_Merge)(const RMR_Reply *replies, RMR_Request **next, void *data);

/* Gets the reply to a request, or the error that it ended in. */
typedef void (*RMR_Done)(const RMR_Reply *reply, void *data);

#if defined(__GNUC__) && !defined(__cplusplus)
#define RMR_ATTR __attribute__((__common__, __unused__))
#elif defined(__GNUC__)
#define RMR_ATTR __attribute__((__unused__))
#else
#define RMR_ATTR
#endif

/* In C++, and where there are no common symbols, each file binds the functions for itself. */
#if defined(__GNUC__) && !defined(__cplusplus)
#define RMR_API
#else
#define RMR_API static
#endif

/* ---- Replies. What is asked of NULL is answered as of a null. ---- */

RMR_API enum RMR_ReplyKind (*RMR_ReplyType)(const RMR_Reply *reply) RMR_ATTR;

/* The integer that the reply is, or that its text says. RMR_ERR: it is and says none. */
RMR_API int (*RMR_ReplyInteger)(const RMR_Reply *reply, long long *integer) RMR_ATTR;

/* The number that the reply is, or that its text says. RMR_ERR: it is and says none. */
RMR_API int (*RMR_ReplyDouble)(const RMR_Reply *reply, double *number) RMR_ATTR;

/* The bytes of a string or an error, which no zero ends; NULL for all else. length may be NULL. */
RMR_API const char *(*RMR_ReplyBytes)(const RMR_Reply *reply, size_t *length) RMR_ATTR;

/* How many elements there are, of a map two for each pair; 0 for what has no elements. */
RMR_API size_t (*RMR_ReplyLength)(const RMR_Reply *reply) RMR_ATTR;

/* An element, from 0 on; NULL if there is none. */
RMR_API const RMR_Reply *(*RMR_ReplyElement)(const RMR_Reply *reply, size_t at) RMR_ATTR;

RMR_API RMR_Reply *(*RMR_CreateNull)(void) RMR_ATTR;
RMR_API RMR_Reply *(*RMR_CreateInteger)(long long integer) RMR_ATTR;
RMR_API RMR_Reply *(*RMR_CreateDouble)(double number) RMR_ATTR;
RMR_API RMR_Reply *(*RMR_CreateString)(const char *bytes, size_t length) RMR_ATTR;

/* An error, its code first: "ERR no such thing". */
RMR_API RMR_Reply *(*RMR_CreateError)(const char *text) RMR_ATTR;

RMR_API RMR_Reply *(*RMR_CreateArray)(void) RMR_ATTR;

/* A map, to which keys and values are pushed in turn. */
RMR_API RMR_Reply *(*RMR_CreateMapReply)(void) RMR_ATTR;

/* Adds an element to an array or a map that was created here, and takes it over. RMR_ERR: there is nothing to add, or it
 * cannot be added there. */
RMR_API int (*RMR_Push)(RMR_Reply *to, RMR_Reply *element) RMR_ATTR;

/* A copy, of a reply that is somebody else's. */
RMR_API RMR_Reply *(*RMR_CopyReply)(const RMR_Reply *reply) RMR_ATTR;

/* Frees a reply that was created here, with all that was pushed to it. */
RMR_API void (*RMR_FreeReply)(RMR_Reply *reply) RMR_ATTR;

/* Adds bytes to what a reducer gives. */
RMR_API void (*RMR_Append)(RMR_Buffer *buffer, const char *bytes, size_t length) RMR_ATTR;

/* ---- Records. ---- */

RMR_API size_t (*RMR_RecordCount)(const RMR_Records *records) RMR_ATTR;

/* The key of a record, from 0 on, which no zero ends; NULL if there is none. length may be NULL. */
RMR_API const char *(*RMR_RecordKey)(const RMR_Records *records, size_t at, size_t *length) RMR_ATTR;

/* The value of a record: the reply of the command that was run for its key, or a null where none was. */
RMR_API const RMR_Reply *(*RMR_RecordReply)(const RMR_Records *records, size_t at) RMR_ATTR;

/* Adds a record to what a step makes, and takes its value over. */
RMR_API int (*RMR_AddRecord)(RMR_Records *out, const char *key, size_t length, RMR_Reply *value) RMR_ATTR;

/* ---- Requests. What is wrong with what one is told is kept, and is the reply when it is sent. ---- */

/* Adds a command, to a map any number, to a fan-out one; to a flow one for each of its keys, whose replies are the new
 * values. Its words may be given without lengths if each ends in a zero. key_at says which of them is the key that it is
 * routed by, the name being at 0; in a flow that word, whatever it is, stands for each key, and in a fan-out it is nothing. */
RMR_API void (*RMR_AddCommand)(RMR_Request *request, int key_at, int argc, const char **argv, const size_t *lengths) RMR_ATTR;

/* The same with strings of the server, such as the arguments of a command. */
RMR_API void (*RMR_AddStrings)(RMR_Request *request, int key_at, int argc, RedisModuleString **argv) RMR_ATTR;

/* Leaves out all keys of a flow but those of a type, as TYPE says it. */
RMR_API void (*RMR_SetKeyType)(RMR_Request *request, const char *type) RMR_ATTR;

/* The most keys that a flow reads. */
RMR_API void (*RMR_SetLimit)(RMR_Request *request, long long most) RMR_ATTR;

/* Has the records of a flow go through a step that a module has registered, behind what was added before. */
RMR_API void (*RMR_AddStep)(RMR_Request *request, const char *name, const char *arguments, size_t length) RMR_ATTR;

/* The most that the request may take with all that it starts, in milliseconds. Default: rmr.timeout-ms, and for a flow
 * rmr.flow-timeout-ms, which is its own time. */
RMR_API void (*RMR_SetTimeout)(RMR_Request *request, long long milliseconds) RMR_ATTR;

/* Whether failures stand among the replies, as errors, instead of being the reply. Reducers pass over them. Default: 0. */
RMR_API void (*RMR_SetPartial)(RMR_Request *request, int partial) RMR_ATTR;

/* Has the replies reduced at the shards: by a reducer that a module has registered, or one of those that rmr has and that
 * can be split, such as SUM or MAX; the argument of TOP, BOTTOM and TOPGROUPS is the number wanted, in digits. */
RMR_API void (*RMR_ReduceWith)(RMR_Request *request, const char *name, const char *arguments, size_t length) RMR_ATTR;

/* Has all replies come here, and calls merge with them once. free may be NULL; it is called once with data, when merge has
 * been called or never will be. Without a reducer and without this the reply is the array of all replies. */
RMR_API void (*RMR_MergeWith)(RMR_Request *request, RMR_Merge merge, void *data, void (*free)(void *data)) RMR_ATTR;

/* Sends the request, takes it over, and answers the client of the command that runs, now or later: nothing else may reply.
 * What the client may not do is an error. Always REDISMODULE_OK, to be returned by the command. */
RMR_API int (*RMR_Send)(RedisModuleCtx *ctx, RMR_Request *request) RMR_ATTR;

/* Sends the request, takes it over, and calls done once with the reply: on a thread of rmr's, or at once here if nothing can
 * be sent. It runs with the rights of the client of the context, and without a client with all. */
RMR_API void (*RMR_SendTo)(RedisModuleCtx *ctx, RMR_Request *request, RMR_Done done, void *data) RMR_ATTR;

/* Frees a request that is not to be sent after all. */
RMR_API void (*RMR_FreeRequest)(RMR_Request *request) RMR_ATTR;

/* ---- What the functions below call with the module's name. ---- */

RMR_API const char *RMR_Module RMR_ATTR;
RMR_API int (*RMR_Enter)(RedisModuleCtx *ctx, int version, const char *module, void (*code)(void)) RMR_ATTR;
RMR_API int (*RMR_Leave)(const char *module) RMR_ATTR;
RMR_API int (*RMR_AddReducer)(const char *module, const RMR_Reducer *reducer) RMR_ATTR;
RMR_API int (*RMR_AddFlowStep)(const char *module, const RMR_Step *step) RMR_ATTR;
RMR_API RMR_Request *(*RMR_CreateRequest)(const char *module, int kind) RMR_ATTR;
RMR_API RMR_Request *(*RMR_CreateFlowRequest)(const char *module, const char *pattern, size_t length) RMR_ATTR;

#if defined(__GNUC__)
#define RMR_INLINE static inline __attribute__((__unused__))
#else
#define RMR_INLINE static inline
#endif

/* A map: each command goes to the shard of its key, all at once. */
RMR_INLINE RMR_Request *RMR_CreateMap(void) {
    return RMR_CreateRequest(RMR_Module, 1);
}

/* A fan-out: one command goes to every primary that holds data. */
RMR_INLINE RMR_Request *RMR_CreateFanOut(void) {
    return RMR_CreateRequest(RMR_Module, 2);
}

/* A flow: all keys that match a pattern as that of KEYS, on the shards that hold them, each key once. */
RMR_INLINE RMR_Request *RMR_CreateFlow(const char *pattern, size_t length) {
    return RMR_CreateFlowRequest(RMR_Module, pattern, length);
}

/* Registers a reducer, all of which is copied but the functions and what data points to. RMR_ERR: the name is not one, or
 * taken; or something is missing, or of another version. */
RMR_INLINE int RMR_RegisterReducer(const RMR_Reducer *reducer) {
    return RMR_AddReducer(RMR_Module, reducer);
}

/* Registers a step of flows, in the same way. */
RMR_INLINE int RMR_RegisterStep(const RMR_Step *step) {
    return RMR_AddFlowStep(RMR_Module, step);
}

/* Forgets all that the module has registered. To be returned by RedisModule_OnUnload: REDISMODULE_ERR, and nothing is
 * forgotten, while requests with the module's reducers or callbacks are under way; the server then does not unload it. */
RMR_INLINE int RMR_Unregister(void) {
    return RMR_Leave && RMR_Leave(RMR_Module) != RMR_OK ? REDISMODULE_ERR : REDISMODULE_OK;
}

/* Binds all functions, behind RedisModule_Init and with the name that was given to it, which must stay where it is.
 * REDISMODULE_ERR, and a line in the server's log, if rmr is not loaded, or is one that does not serve modules of this
 * version. A module that should load all the same can try again in any of its commands. */
RMR_INLINE int RMR_Init(RedisModuleCtx *ctx, const char *module) {
    struct { const char *name; void *function; } functions[] = {
#define RMR_BIND(name) {#name, (void *)&name}
        RMR_BIND(RMR_Enter), RMR_BIND(RMR_Leave), RMR_BIND(RMR_AddReducer), RMR_BIND(RMR_CreateRequest),
        RMR_BIND(RMR_ReplyType), RMR_BIND(RMR_ReplyInteger), RMR_BIND(RMR_ReplyDouble), RMR_BIND(RMR_ReplyBytes),
        RMR_BIND(RMR_ReplyLength), RMR_BIND(RMR_ReplyElement), RMR_BIND(RMR_CreateNull), RMR_BIND(RMR_CreateInteger),
        RMR_BIND(RMR_CreateDouble), RMR_BIND(RMR_CreateString), RMR_BIND(RMR_CreateError), RMR_BIND(RMR_CreateArray),
        RMR_BIND(RMR_CreateMapReply), RMR_BIND(RMR_Push), RMR_BIND(RMR_CopyReply), RMR_BIND(RMR_FreeReply),
        RMR_BIND(RMR_Append), RMR_BIND(RMR_AddCommand), RMR_BIND(RMR_AddStrings), RMR_BIND(RMR_SetTimeout),
        RMR_BIND(RMR_SetPartial), RMR_BIND(RMR_ReduceWith), RMR_BIND(RMR_MergeWith), RMR_BIND(RMR_Send),
        RMR_BIND(RMR_SendTo), RMR_BIND(RMR_FreeRequest), RMR_BIND(RMR_AddFlowStep), RMR_BIND(RMR_CreateFlowRequest),
        RMR_BIND(RMR_RecordCount), RMR_BIND(RMR_RecordKey), RMR_BIND(RMR_RecordReply), RMR_BIND(RMR_AddRecord),
        RMR_BIND(RMR_SetKeyType), RMR_BIND(RMR_SetLimit), RMR_BIND(RMR_AddStep),
#undef RMR_BIND
    };
    size_t count = sizeof(functions) / sizeof(functions[0]);
    for (size_t i = 0; i < count; i++) {
        void *bound = RedisModule_GetSharedAPI(ctx, functions[i].name);
        if (bound == NULL) {
            const char *why = i == 0 ? "rmr is not loaded; load librmr.so first" : "rmr is too old: it lacks a function";
            RedisModule_Log(ctx, "warning", "%s: %s (%s)", module, why, functions[i].name);
            return REDISMODULE_ERR;
        }
        *(void **)functions[i].function = bound;
    }
    RMR_Module = module;
    return RMR_Enter(ctx, RMR_API_VERSION, module, (void (*)(void))RMR_Unregister) == RMR_OK ? REDISMODULE_OK
                                                                                            : REDISMODULE_ERR;
}

#ifdef __cplusplus
}
#endif

#endif
