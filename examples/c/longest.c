/* A Redis module in C with commands over all shards.
 *
 *     LONGEST.OF key [key ...]       the longest of the strings that the keys hold, with its length and key
 *     LONGEST.LATER key [key ...]    the same, on a client that the module blocks itself
 *     LONGEST.MATCHING pattern [beginning]
 *                                    the same of all keys that match, and of strings that begin so
 *     LONGEST.SHARD                  the number of keys of the fullest shard, and of all shards, in two steps
 *
 *     cc -shared -fPIC -I include -I <where redismodule.h is> -o longest.so examples/c/longest.c
 *     redis-server --loadmodule librmr.so --loadmodule ./longest.so
 *
 * Each shard that has the module looks at its own keys and sends one string, however many keys it was asked about; a shard
 * that has not sends all of them, and the answer is the same.
 */
#include <string.h>

#include "redismodule.h"
#include "rmr.h"

/* What a part of the replies comes to: the longest string so far, and its key. */
typedef struct Longest {
    char *text;
    size_t text_length;
    char *key;
    size_t key_length;
} Longest;

static char *Copied(const char *bytes, size_t length) {
    char *copy = RedisModule_Alloc(length ? length : 1);
    memcpy(copy, bytes, length);
    return copy;
}

/* Of two strings of one length the one of the lesser key, so that it does not matter in which order they come. */
static int IsBetter(const Longest *than, size_t text_length, const char *key, size_t key_length) {
    if (than->text == NULL || text_length != than->text_length) {
        return than->text == NULL || text_length > than->text_length;
    }
    size_t common = key_length < than->key_length ? key_length : than->key_length;
    int order = memcmp(key, than->key, common);
    return order < 0 || (order == 0 && key_length < than->key_length);
}

static void Put(Longest *longest, const char *text, size_t text_length, const char *key, size_t key_length) {
    if (!IsBetter(longest, text_length, key, key_length)) return;
    RedisModule_Free(longest->text);
    RedisModule_Free(longest->key);
    *longest = (Longest){Copied(text, text_length), text_length, Copied(key, key_length), key_length};
}

static void *Create(const char *arguments, size_t length, void *data) {
    (void)arguments;
    (void)data;
    /* It takes no arguments. */
    return length == 0 ? RedisModule_Calloc(1, sizeof(Longest)) : NULL;
}

static int Take(void *partial, const RMR_Origin *origin, const RMR_Reply *reply) {
    if (RMR_ReplyType(reply) == RMR_REPLY_NULL) return RMR_OK;
    size_t length;
    const char *text = RMR_ReplyBytes(reply, &length);
    if (text == NULL) return RMR_ERR;
    Put(partial, text, length, origin->key, origin->key_length);
    return RMR_OK;
}

static void Combine(void *partial, const void *other) {
    const Longest *theirs = other;
    if (theirs->text) Put(partial, theirs->text, theirs->text_length, theirs->key, theirs->key_length);
}

/* The length of the key in eight bytes, the key, the text; nothing if there was no string. */
static void Encode(const void *partial, RMR_Buffer *out) {
    const Longest *longest = partial;
    if (longest->text == NULL) return;
    char length[8];
    for (int i = 0; i < 8; i++) length[i] = (char)((unsigned long long)longest->key_length >> (8 * i));
    RMR_Append(out, length, 8);
    RMR_Append(out, longest->key, longest->key_length);
    RMR_Append(out, longest->text, longest->text_length);
}

static int Decode(void *partial, const char *bytes, size_t length) {
    if (length == 0) return RMR_OK;
    if (length < 8) return RMR_ERR;
    unsigned long long key_length = 0;
    for (int i = 0; i < 8; i++) key_length |= (unsigned long long)(unsigned char)bytes[i] << (8 * i);
    if (key_length > length - 8) return RMR_ERR;
    const char *key = bytes + 8;
    Put(partial, key + key_length, length - 8 - key_length, key, key_length);
    return RMR_OK;
}

static RMR_Reply *Finish(const void *partial) {
    const Longest *longest = partial;
    if (longest->text == NULL) return RMR_CreateNull();
    RMR_Reply *reply = RMR_CreateArray();
    RMR_Push(reply, RMR_CreateString(longest->key, longest->key_length));
    RMR_Push(reply, RMR_CreateInteger((long long)longest->text_length));
    RMR_Push(reply, RMR_CreateString(longest->text, longest->text_length));
    return reply;
}

static void Free(void *partial) {
    Longest *longest = partial;
    RedisModule_Free(longest->text);
    RedisModule_Free(longest->key);
    RedisModule_Free(longest);
}

static const RMR_Reducer Reducer = {
    .version = RMR_API_VERSION,
    .name = "LONGEST",
    .flags = RMR_NEEDS_KEYS,
    .create = Create,
    .take = Take,
    .combine = Combine,
    .encode = Encode,
    .decode = Decode,
    .finish = Finish,
    .free = Free,
};

/* GET of each key, reduced where the keys are. */
static RMR_Request *LongestOf(RedisModuleString **keys, int count) {
    RMR_Request *request = RMR_CreateMap();
    for (int i = 0; i < count; i++) {
        const char *words[2] = {"GET", NULL};
        size_t lengths[2] = {3, 0};
        words[1] = RedisModule_StringPtrLen(keys[i], &lengths[1]);
        RMR_AddCommand(request, 1, 2, words, lengths);
    }
    RMR_ReduceWith(request, "LONGEST", NULL, 0);
    return request;
}

/* LONGEST.OF key [key ...] */
static int OfCommand(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    return RMR_Send(ctx, LongestOf(argv + 1, argc - 1));
}

/* Answers with what a callback has been given. */
static int Later(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv;
    (void)argc;
    const RMR_Reply *reply = RedisModule_GetBlockedClientPrivateData(ctx);
    size_t length;
    switch (RMR_ReplyType(reply)) {
    case RMR_REPLY_ARRAY: {
        const char *key = RMR_ReplyBytes(RMR_ReplyElement(reply, 0), &length);
        return RedisModule_ReplyWithStringBuffer(ctx, key, length);
    }
    case RMR_REPLY_ERROR: {
        const char *text = RMR_ReplyBytes(reply, &length);
        RedisModuleString *line = RedisModule_CreateString(ctx, text, length);
        RedisModule_ReplyWithError(ctx, RedisModule_StringPtrLen(line, NULL));
        RedisModule_FreeString(ctx, line);
        return REDISMODULE_OK;
    }
    default:
        return RedisModule_ReplyWithNull(ctx);
    }
}

static void FreeLater(RedisModuleCtx *ctx, void *reply) {
    (void)ctx;
    RMR_FreeReply(reply);
}

/* On a thread of rmr: the client is answered on the main thread. */
static void Unblock(const RMR_Reply *reply, void *client) {
    RedisModule_UnblockClient(client, RMR_CopyReply(reply));
}

/* LONGEST.LATER key [key ...] */
static int LaterCommand(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    RMR_Request *request = LongestOf(argv + 1, argc - 1);
    RMR_SetTimeout(request, 10000);
    RMR_SendTo(ctx, request, Unblock, RedisModule_BlockClient(ctx, Later, NULL, FreeLater, 0));
    return REDISMODULE_OK;
}

/* A step of flows: keeps the records whose text begins with the arguments. */
static RMR_Reply *KeepBeginning(const RMR_Records *records, RMR_Records *out, const char *arguments, size_t length,
                                void *data) {
    (void)data;
    for (size_t i = 0; i < RMR_RecordCount(records); i++) {
        const RMR_Reply *reply = RMR_RecordReply(records, i);
        size_t text_length, key_length;
        const char *text = RMR_ReplyBytes(reply, &text_length);
        if (text == NULL || text_length < length || memcmp(text, arguments, length) != 0) continue;
        const char *key = RMR_RecordKey(records, i, &key_length);
        RMR_AddRecord(out, key, key_length, RMR_CopyReply(reply));
    }
    return NULL;
}

static const RMR_Step Beginning = {.version = RMR_API_VERSION, .name = "LONGEST-BEGINNING", .run = KeepBeginning};

/* LONGEST.MATCHING pattern [beginning] */
static int MatchingCommand(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2 && argc != 3) return RedisModule_WrongArity(ctx);
    size_t length;
    const char *pattern = RedisModule_StringPtrLen(argv[1], &length);
    RMR_Request *request = RMR_CreateFlow(pattern, length);
    RMR_SetKeyType(request, "string");
    const char *get[] = {"GET", "{}"};
    RMR_AddCommand(request, 1, 2, get, NULL);
    if (argc == 3) {
        const char *beginning = RedisModule_StringPtrLen(argv[2], &length);
        RMR_AddStep(request, "LONGEST-BEGINNING", beginning, length);
    }
    RMR_ReduceWith(request, "LONGEST", NULL, 0);
    return RMR_Send(ctx, request);
}

/* Gets how many keys there are in all, and was left how many the fullest shard has. */
static RMR_Reply *Both(const RMR_Reply *replies, RMR_Request **next, void *data) {
    (void)next;
    long long all = 0;
    for (size_t i = 0; i < RMR_ReplyLength(replies); i++) {
        long long size = 0;
        RMR_ReplyInteger(RMR_ReplyElement(replies, i), &size);
        all += size;
    }
    RMR_Reply *both = RMR_CreateArray();
    RMR_Push(both, RMR_CreateInteger(*(long long *)data));
    RMR_Push(both, RMR_CreateInteger(all));
    return both;
}

/* Gets the sizes of the shards, and asks once more. */
static RMR_Reply *Fullest(const RMR_Reply *replies, RMR_Request **next, void *data) {
    (void)data;
    long long *fullest = RedisModule_Calloc(1, sizeof(*fullest));
    for (size_t i = 0; i < RMR_ReplyLength(replies); i++) {
        long long size = 0;
        RMR_ReplyInteger(RMR_ReplyElement(replies, i), &size);
        if (size > *fullest) *fullest = size;
    }
    const char *words[] = {"DBSIZE"};
    *next = RMR_CreateFanOut();
    RMR_AddCommand(*next, 0, 1, words, NULL);
    RMR_MergeWith(*next, Both, fullest, RedisModule_Free);
    return NULL;
}

/* LONGEST.SHARD */
static int ShardCommand(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv;
    if (argc != 1) return RedisModule_WrongArity(ctx);
    RMR_Request *request = RMR_CreateFanOut();
    const char *words[] = {"DBSIZE"};
    RMR_AddCommand(request, 0, 1, words, NULL);
    RMR_MergeWith(request, Fullest, NULL, NULL);
    return RMR_Send(ctx, request);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv;
    (void)argc;
    if (RedisModule_Init(ctx, "longest", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR) return REDISMODULE_ERR;
    if (RMR_Init(ctx, "longest") == REDISMODULE_ERR) return REDISMODULE_ERR;
    if (RMR_RegisterReducer(&Reducer) != RMR_OK || RMR_RegisterStep(&Beginning) != RMR_OK) return REDISMODULE_ERR;
    if (RedisModule_CreateCommand(ctx, "longest.of", OfCommand, "readonly", 0, 0, 0) == REDISMODULE_ERR ||
        RedisModule_CreateCommand(ctx, "longest.later", LaterCommand, "readonly", 0, 0, 0) == REDISMODULE_ERR ||
        RedisModule_CreateCommand(ctx, "longest.matching", MatchingCommand, "readonly", 0, 0, 0) == REDISMODULE_ERR ||
        RedisModule_CreateCommand(ctx, "longest.shard", ShardCommand, "readonly", 0, 0, 0) == REDISMODULE_ERR) {
        return REDISMODULE_ERR;
    }
    return REDISMODULE_OK;
}

int RedisModule_OnUnload(RedisModuleCtx *ctx) {
    (void)ctx;
    return RMR_Unregister();
}
