/* A module that does with rmr what it should not: the tests of tests/server/guests.rs load it.
 *
 *     loadmodule guest.so [fail]     fail: it registers its reducer, and then does not load after all
 *     GUEST.WRONG what               what the author of a module may get wrong
 *     GUEST.BUSY keys...             a request of a reducer of this module
 *
 * It says nothing when it is unloaded.
 */
#include <string.h>

#include "redismodule.h"
#include "rmr.h"

static void *Create(const char *arguments, size_t length, void *data) {
    (void)data;
    if (length == 4 && memcmp(arguments, "none", 4) == 0) return NULL;
    return RedisModule_Calloc(1, sizeof(long long));
}

static int Take(void *partial, const RMR_Origin *origin, const RMR_Reply *reply) {
    (void)origin;
    if (RMR_ReplyType(reply) == RMR_REPLY_ARRAY) return RMR_ERR;
    *(long long *)partial += 1;
    return RMR_OK;
}

static void Combine(void *partial, const void *other) {
    *(long long *)partial += *(const long long *)other;
}

static void Encode(const void *partial, RMR_Buffer *out) {
    RMR_Append(out, partial, sizeof(long long));
}

static int Decode(void *partial, const char *bytes, size_t length) {
    (void)partial;
    (void)bytes;
    (void)length;
    return RMR_ERR;
}

static RMR_Reply *Finish(const void *partial) {
    long long count = *(const long long *)partial;
    return count == 13 ? NULL : RMR_CreateInteger(count);
}

static void Free(void *partial) {
    RedisModule_Free(partial);
}

static RMR_Reducer Reducer(const char *name) {
    RMR_Reducer reducer = {RMR_API_VERSION, name, 0, NULL, Create, Take, Combine, Encode, Decode, Finish, Free};
    return reducer;
}

static int CountCommand(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RMR_Request *request = RMR_CreateMap();
    for (int i = 1; i < argc; i++) {
        const char *words[] = {"GET", RedisModule_StringPtrLen(argv[i], NULL)};
        RMR_AddCommand(request, 1, 2, words, NULL);
    }
    RMR_ReduceWith(request, "GUEST-COUNT", NULL, 0);
    return RMR_Send(ctx, request);
}

static RMR_Reply *Fail(const RMR_Records *records, RMR_Records *out, const char *arguments, size_t length, void *data) {
    (void)records;
    (void)out;
    (void)arguments;
    (void)length;
    (void)data;
    return RMR_CreateError("ERR it will not");
}

static int freed = 0;

static void Count(void *data) {
    (void)data;
    freed++;
}

static RMR_Reply *Nothing(const RMR_Reply *replies, RMR_Request **next, void *data) {
    (void)replies;
    (void)next;
    (void)data;
    return NULL;
}

static int WrongCommand(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    const char *what = RedisModule_StringPtrLen(argv[1], NULL);
    const char *get[] = {"GET", "k"};
    const char *dbsize[] = {"DBSIZE"};
    RMR_Request *map = RMR_CreateMap();
    RMR_Request *fan_out = RMR_CreateFanOut();
    RMR_Request *sent = map;
    if (!strcmp(what, "key")) {
        RMR_AddCommand(map, 2, 2, get, NULL);
    } else if (!strcmp(what, "words")) {
        RMR_AddCommand(map, 1, 0, get, NULL);
    } else if (!strcmp(what, "timeout")) {
        RMR_SetTimeout(map, 0);
    } else if (!strcmp(what, "reducer")) {
        RMR_ReduceWith(map, "NO-SUCH", NULL, 0);
    } else if (!strcmp(what, "arguments")) {
        RMR_ReduceWith(map, "GUEST-COUNT", "none", 4);
    } else if (!strcmp(what, "number")) {
        RMR_ReduceWith(map, "TOP", "many", 4);
    } else if (!strcmp(what, "top")) {
        RMR_AddCommand(map, 1, 2, get, NULL);
        RMR_ReduceWith(map, "TOP", "1", 1);
    } else if (!strcmp(what, "step")) {
        sent = RMR_CreateFlow("*", 1);
        RMR_AddStep(sent, "NO-SUCH", NULL, 0);
    } else if (!strcmp(what, "failing")) {
        sent = RMR_CreateFlow("*", 1);
        RMR_AddStep(sent, "GUEST-STEP", NULL, 0);
    } else if (!strcmp(what, "flow")) {
        sent = RMR_CreateFlow("*", 1);
        RMR_SetLimit(sent, 1);
    } else if (!strcmp(what, "limit")) {
        sent = RMR_CreateFlow("*", 1);
        RMR_SetLimit(sent, -1);
    } else if (!strcmp(what, "limited")) {
        RMR_SetLimit(map, 1);
    } else if (!strcmp(what, "two")) {
        sent = fan_out;
        RMR_AddCommand(fan_out, 0, 1, dbsize, NULL);
        RMR_AddCommand(fan_out, 0, 1, dbsize, NULL);
    } else if (!strcmp(what, "none")) {
        sent = fan_out;
    } else if (!strcmp(what, "nothing")) {
        RMR_AddCommand(map, 1, 2, get, NULL);
        RMR_MergeWith(map, Nothing, NULL, Count);
    } else if (!strcmp(what, "twice")) {
        RMR_AddCommand(map, 1, 2, get, NULL);
        RMR_MergeWith(map, Nothing, NULL, Count);
        RMR_MergeWith(map, Nothing, NULL, Count);
        RMR_ReduceWith(map, "SUM", NULL, 0);
    } else if (!strcmp(what, "partial")) {
        const char *bad[] = {"LPUSH", "k", "x"};
        RMR_AddCommand(map, 1, 2, get, NULL);
        RMR_AddCommand(map, 1, 3, bad, NULL);
        RMR_SetPartial(map, 1);
    } else if (!strcmp(what, "unsent")) {
        RMR_FreeRequest(map);
        sent = NULL;
    } else if (!strcmp(what, "freed")) {
        RMR_FreeRequest(map);
        RMR_FreeRequest(fan_out);
        return RedisModule_ReplyWithLongLong(ctx, freed);
    }
    if (sent != fan_out) RMR_FreeRequest(fan_out);
    if (sent != map && sent != NULL) RMR_FreeRequest(map);
    return RMR_Send(ctx, sent);
}

/* How many of the reducers that are none are taken all the same. */
static int Taken(RedisModuleCtx *ctx) {
    RMR_Reducer no_name = Reducer(NULL), odd_name = Reducer("a b"), built_in = Reducer("sum"), twice = Reducer("GUEST-COUNT");
    RMR_Reducer old = Reducer("OLD"), part = Reducer("PART");
    old.version = 0;
    part.decode = NULL;
    RMR_Reducer *wrong[] = {&no_name, &odd_name, &built_in, &twice, &old, &part, NULL};
    int taken = 0;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) taken += RMR_RegisterReducer(wrong[i]) == RMR_OK;
    RMR_Step odd_step = {RMR_API_VERSION, "a b", NULL, Fail}, no_run = {RMR_API_VERSION, "NO-RUN", NULL, NULL};
    RMR_Step same_step = {RMR_API_VERSION, "GUEST-STEP", NULL, Fail}, old_step = {0, "OLD-STEP", NULL, Fail};
    RMR_Step *wrong_steps[] = {&odd_step, &no_run, &same_step, &old_step, NULL};
    for (size_t i = 0; i < sizeof(wrong_steps) / sizeof(wrong_steps[0]); i++) {
        taken += RMR_RegisterStep(wrong_steps[i]) == RMR_OK;
    }
    taken += RMR_Enter(ctx, RMR_API_VERSION + 1, "guest", (void (*)(void))Count) == RMR_OK;
    taken += RMR_AddReducer("nobody", &twice) == RMR_OK;
    taken += RMR_CreateRequest("nobody", 1) != NULL;
    return taken;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv;
    if (RedisModule_Init(ctx, "guest", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR) return REDISMODULE_ERR;
    if (RMR_Init(ctx, "guest") == REDISMODULE_ERR) return REDISMODULE_ERR;
    RMR_Reducer count = Reducer("GUEST-COUNT");
    RMR_Step step = {RMR_API_VERSION, "GUEST-STEP", NULL, Fail};
    if (RMR_RegisterReducer(&count) != RMR_OK || RMR_RegisterStep(&step) != RMR_OK) return REDISMODULE_ERR;
    if (argc > 0 || Taken(ctx) != 0) return REDISMODULE_ERR;
    if (RedisModule_CreateCommand(ctx, "guest.count", CountCommand, "", 0, 0, 0) == REDISMODULE_ERR ||
        RedisModule_CreateCommand(ctx, "guest.wrong", WrongCommand, "", 0, 0, 0) == REDISMODULE_ERR) {
        return REDISMODULE_ERR;
    }
    return REDISMODULE_OK;
}
