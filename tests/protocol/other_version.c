/* Stands for rmr of another version: its inner command says the version that the module is loaded with, and declines whatever
 * it is asked, as a node does that cannot read the request.
 *
 *     MODULE LOAD other_version.so version
 */
#include "redismodule.h"

static long long version;

static int Inner(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv;
    if (argc == 1) return RedisModule_ReplyWithLongLong(ctx, version);
    return RedisModule_ReplyWithError(ctx, "RMRDECLINED the request has another version than this node");
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "otherversion", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR) return REDISMODULE_ERR;
    if (argc != 1 || RedisModule_StringToLongLong(argv[0], &version) == REDISMODULE_ERR) return REDISMODULE_ERR;
    return RedisModule_CreateCommand(ctx, "RMR.INNER", Inner, "", 0, 0, 0);
}
