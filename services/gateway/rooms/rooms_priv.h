/* SPDX-License-Identifier: MIT
 *
 * Inside of rooms/. Marks: [rooms] only on the rooms thread; [plane] only on the connection's thread; [any]. */
#ifndef WR_GATEWAY_ROOMS_ROOMS_PRIV_H
#define WR_GATEWAY_ROOMS_ROOMS_PRIV_H

#include "wr_buf.h"
#include "wr_clock.h"
#include "wr_protocol.h"
#include "wr_map.h"
#include "wr_metrics.h"
#include "wr_rooms.h"
#include <pthread.h>
#include <stdatomic.h>

#define ROOMS__PROTOCOLS 8u
#define ROOMS__FORMS 16u        /* variants of all protocols */
#define ROOMS__RECOVER_MAX 300u /* publications in a recovery or a history answer */
#define ROOMS__RECOVER_TRIES \
    5u /* of one recovery, when fills go out between the log and its answer */
#define ROOMS__TYPE_BYTES 127u /* of a media type */
#define ROOMS__SUBS_PER_CLIENT 128u
#define ROOMS__PENDING_PER_CLIENT \
    1024u                         /* with more of its requests unanswered nothing is read of it */
#define ROOMS__PENDING_MAX 16384u /* what one message may make of them: more are refused */
#define ROOMS__MAX_MESSAGE 65536u /* until a hub has told it */
#define ROOMS__OUTBOX_ITEMS 20000u
#define ROOMS__OUTBOX_BYTES (32u << 20) /* of memory, as all bounds in bytes */
#define ROOMS__EVENTS 8192u             /* events of the hubs that wait for the thread */
#define ROOMS__EVENTS_BYTES (64u << 20) /* of them, and of those that all rooms hold */
#define ROOMS__HELD_EVENTS \
    1024u /* events of one room that wait for a fill or were kept for a recovery */
#define ROOMS__PUBLISH_MS 4000 /* a publish has its answer by then: SDKs wait 5 s */
#define ROOMS__LEASE_MS 6000u
#define ROOMS__BEAT_MS 2000
#define ROOMS__RETRY_MS 100
#define ROOMS__PRESENCE_MS 20    /* between two Members calls: a storm of arrivals goes in few */
#define ROOMS__LINGER_MS 30000   /* a room without members is forgotten after it */
#define ROOMS__CHECK_MS 30000    /* between two questions for the newest offsets of all rooms */
#define ROOMS__CHECK_ROOMS 4096u /* in one of them: the hub takes no more */

enum rooms__class { CLASS_PUBS = 1u << 0, CLASS_POSITIONED = 1u << 1, CLASS_JOIN_LEAVE = 1u << 2 };

/* ---- what others see of a client: immutable, shared ---- */
struct rooms__person {
    atomic_uint refs;
    struct wr_protocol_info info;
    struct wr_slice pb; /* encoded watchroom.v1.ClientInfo */
    uint8_t bytes[];
};
struct rooms__person *rooms__person_new(struct wr_slice client, struct wr_slice user,
                                        struct wr_slice conn_info);
struct rooms__person *rooms__person_ref(struct rooms__person *i);
void rooms__person_unref(struct rooms__person *i);

/* ---- a membership: shared by the client and the room ---- */
enum rooms__sub_state { SUB_WAITING = 1, SUB_RECOVERING, SUB_LIVE, SUB_LEFT };
struct rooms__sub {
    atomic_uint refs;
    /* constant: */
    struct wr_conn_id conn;
    uint32_t form, flags;
    uint64_t cookie, since;
    char since_epoch[32];
    struct rooms__person *who;
    uint32_t lane; /* of the connection's order (line.h), like the others below */
    /* the client's: [plane] */
    struct rooms__sub *client_next;
    struct wr_fanout *fanout; /* set when live */
    bool gone, answered;
    /* the room's: [rooms] */
    struct rooms__room *room;
    struct rooms__sub *room_next, **room_at;
    enum rooms__sub_state state;
    bool leaving; /* gave it back before its answer: it gets the answer, then goes */
    bool asked;   /* its position is past the room's: the log was asked how far it goes */
    uint32_t tries;
    bool told;                        /* the hub acknowledged that the member is there */
    struct rooms__presence_op *enter; /* queued, not sent yet */
    uint16_t name_len;
    char name[];
};
static inline struct wr_slice rooms__sub_room(const struct rooms__sub *s)
{
    return wr_slice_of(s->name, s->name_len);
}
void rooms__sub_unref(struct rooms__sub *s);

/* ---- publications parsed from a hub's message; slices point into it ---- */
struct rooms__pubs {
    struct wr_protocol_pub *v;
    size_t n, cap;
    struct wr_protocol_info *joined, *left;
    size_t n_joined, n_left;
    struct wr_slice room, epoch;
    struct wr_slice instance; /* whose event it is */
    uint64_t top;
};
/* False when malformed (or out of memory); then nothing is held. */
bool rooms__parse_event(struct wr_slice event, struct rooms__pubs *out);
bool rooms__parse_history(struct wr_slice body, struct rooms__pubs *out);
void rooms__pubs_free(struct rooms__pubs *p);
bool rooms__parse_info(struct wr_slice body, struct wr_protocol_info *out);

/* ---- an answer on its way to a client ---- */
struct rooms__reply {
    struct rooms__reply *next; /* among acknowledgements that wait */
    struct wr_protocol_result r;
    char text[200];
    char epoch[32];
    void (*finish)(struct rooms__reply *p); /* of a call: makes r.data of the rest [plane] */
    struct wr_buf data;                     /* what r.data is in, for finish */
    struct rooms__sub *sub;                 /* of a subscribe */
    struct wr_fanout *fanout;               /* to enter */
    struct wr_protocol_pub *pubs;           /* owned array */
    struct wr_protocol_info *members;       /* owned array */
    struct wr_msg **msgs;                   /* what the slices point into */
    size_t nmsgs;
    struct wr_rooms *rooms;
    struct wr_conn_id conn;
    uint32_t lane;  /* 0: it was in no one's way */
    char room[256]; /* when there is no sub */
};
struct rooms__reply *rooms__reply_new(enum wr_protocol_op op, uint64_t cookie);
bool rooms__reply_hold(struct rooms__reply *p, struct wr_msg *m);
void rooms__reply_free(struct rooms__reply *p); /* of one that is not posted */
void rooms__reply_fail(struct rooms__reply *p, wr_err code, struct wr_slice text);
/* Frees it after the client's protocol had it. */
void rooms__reply_post(struct wr_rooms *rs, struct wr_conn_id conn,
                       struct rooms__reply *p); /* [any] */

/* ---- work for the rooms thread ---- */
enum rooms__job_kind {
    JOB_SUBSCRIBE = 1,
    JOB_UNSUBSCRIBE,
    JOB_PUBLISH,
    JOB_PRESENCE,
    JOB_EVENT,
    JOB_ANSWER,
    JOB_INSTANCE,
    JOB_RIGHTS
};
typedef void (*rooms__answer_fn)(struct wr_rooms *rs, void *ctx,
                                 const struct wr_answer *a); /* [rooms] */
struct rooms__publish {
    struct rooms__publish *next;
    struct wr_conn_id conn;
    uint64_t cookie;
    int64_t deadline_us;
    uint32_t lane;
    struct rooms__person *who;
    void (*finish)(struct rooms__reply *p); /* NULL: a plain publish, no call */
    uint8_t key[16];
    struct wr_slice room, type, data;
    uint8_t bytes[];
};
/* What a message costs while it waits for the hub, for the outbox's bound. */
static inline size_t rooms__publish_memory(const struct rooms__publish *p)
{
    return sizeof *p + p->room.n + p->type.n + p->data.n;
}
struct rooms__job {
    struct rooms__job *next;
    enum rooms__job_kind kind;
    union {
        struct rooms__sub *sub;
        struct rooms__publish *publish;
        struct {
            struct rooms__reply *reply;
            char room[256];
        } presence;
        struct {
            struct wr_msg *msg;
            struct wr_slice event;
            uint16_t room_len; /* the topic is only lent by the bus: the name is copied */
            char room[256];
        } event;
        struct {
            struct wr_rooms *rs;
            rooms__answer_fn fn;
            void *ctx;
            struct wr_answer a; /* without the instance: nobody asks */
            char text[200];
        } answer;
    } u;
};
void rooms__job_post(struct wr_rooms *rs, struct rooms__job *j); /* [any] */
struct rooms__job *rooms__job_new(enum rooms__job_kind kind);    /* aborts when memory is out */
/* A call whose answer comes back to the rooms thread. Moves body. [rooms] */
struct rooms__hub;
void rooms__call(struct wr_rooms *rs, const char *route, const char *method, struct wr_msg *body,
                 uint32_t ms, rooms__answer_fn fn, void *ctx);

/* ---- a room ---- */
struct rooms__held { /* an event kept */
    struct rooms__held *next;
    struct wr_msg *msg;
    struct wr_slice event;
};
enum rooms__room_state { ROOM_TOPS = 1, ROOM_LIVE, ROOM_FILLING };
struct rooms__room {
    struct wr_rooms *rs;
    enum rooms__room_state state;
    struct rooms__hub *hub; /* its calls and members go there */
    unsigned moves;         /* to another hub: what was asked before one is answered too late */
    bool waits_retry;       /* its call failed: the timer asks again */
    uint32_t calls;         /* under way: the room stays */
    char epoch[32];
    uint64_t last;   /* newest offset that was delivered */
    uint64_t target; /* newest offset known to exist */
    struct rooms__sub *subs;
    size_t nsubs;
    int64_t empty_ms;                        /* since when it has no members */
    struct wr_fanout *fanouts[ROOMS__FORMS]; /* members by the form that they get */
    struct rooms__held *held, **held_last;   /* events that wait for tops or a fill */
    size_t nheld;
    size_t recovering;                         /* subscriptions that read the log */
    struct rooms__held *recent, **recent_last; /* events delivered meanwhile */
    size_t nrecent;
    bool recent_lost;
    char name[256];
};
void room__event(struct wr_rooms *rs, struct wr_msg *msg, struct wr_slice name,
                 struct wr_slice event);
void room__subscribe(struct wr_rooms *rs, struct rooms__sub *s);
void room__unsubscribe(struct wr_rooms *rs, struct rooms__sub *s);
void room__timer(struct wr_rooms *rs, int64_t now_ms);
/* Asks for the newest offsets of all rooms with the next timer: events may have been missed. */
void room__check_soon(struct wr_rooms *rs);
/* Rights changed: every member of every room is asked about again. */
void room__ask_all_again(struct wr_rooms *rs);
void room__free_all(struct wr_rooms *rs);
/* The room's hub is another one: asks it where the room's log is. */
void room__moved(struct rooms__room *room);

/* ---- outbox ---- */
struct rooms__outbox {
    struct rooms__publish *first, **last;
    size_t waiting;              /* messages in first..last */
    struct rooms__publish *sent; /* the call under way, or to be sent again */
    size_t nsent;
    struct outbox_call *call; /* under way, else NULL */
    uint64_t turn;            /* wr_rooms.turn when it left */
    int64_t retry_ms;
    int64_t sent_us; /* when the last call left */
    size_t want;     /* with fewer waiting the next call is held back until hold_us */
    int64_t hold_us;
};
/* Queues it for its room's hub. */
void outbox__add(struct wr_rooms *rs, struct rooms__publish *p);
void outbox__run(struct wr_rooms *rs, int64_t now_ms); /* sends what can be sent */
/* Posts the acknowledgements that wait, when an event came or their time is over. */
void outbox__release(struct wr_rooms *rs, bool event_came);
/* How many more messages are worth a wake-up of the thread: none while a call is under way, whose answer wakes it.
 * *until_us becomes earlier when it has to run again before that. */
size_t outbox__wants(const struct wr_rooms *rs, int64_t *until_us);
/* Which hubs live has changed: what h has and does not have under way goes to where its room is now. Of a hub that is
 * down that is everything: its call is given up, and made again, with the same keys, there. */
void outbox__rehome(struct wr_rooms *rs, struct rooms__hub *h);
void outbox__init(struct rooms__outbox *o);
void outbox__free(struct wr_rooms *rs);

/* ---- presence ---- */
struct rooms__presence_op {
    struct rooms__presence_op *next;
    struct rooms__sub *sub; /* NULL: taken back */
    bool leave;
};
struct rooms__presence_ask {
    struct rooms__presence_ask *next;
    uint64_t after; /* operations that must be acknowledged first */
    int64_t deadline_ms;
    struct rooms__reply *reply;
    char room[256];
};
struct rooms__presence {
    struct rooms__presence_op *first, **last;
    uint64_t queued, acked;       /* operations */
    struct presence_change *sent; /* of the call under way (or to be made again) */
    size_t nsent, sent_ops;
    struct wr_msg *body;        /* of the call under way, for sending it again */
    struct wr_msg *delta;       /* put aside while the full list goes first */
    struct presence_list *list; /* parts of the full list that were not acknowledged yet */
    struct presence_call *call; /* under way, else NULL */
    bool need_full, is_full, again;
    uint64_t seq;
    int64_t retry_ms, beat_ms, next_ms;
    struct rooms__presence_ask *asks, **asks_last;
};
void presence__init(struct rooms__presence *ps);
void presence__enter(struct wr_rooms *rs, struct rooms__sub *s);
void presence__leave(struct wr_rooms *rs, struct rooms__sub *s);
void presence__ask(struct wr_rooms *rs, const char *room, struct rooms__reply *p);
void presence__run(struct wr_rooms *rs, int64_t now_ms);
/* When presence__run has something to send. */
int64_t presence__due_ms(const struct wr_rooms *rs);
void presence__beat_now(struct rooms__hub *h);
/* Rooms have moved: what h still has to say of their members, and questions for them, go to where they are now. A hub
 * that is down says nothing any more: its call is given up. */
void presence__rehome(struct wr_rooms *rs, struct rooms__hub *h);
void presence__end(struct wr_rooms *rs); /* blocks shortly: after the thread has ended */
void presence__free(struct wr_rooms *rs);

/* ---- hubs ----
 * A room is at one of the hubs that live, by rendezvous hashing of its name over their addresses: every gateway that sees
 * the same ones names the same. Each has an outbox, a lease and a sequence of its own, and none waits for another. When
 * one comes or goes only its rooms move. While none lives everything stays where it is. Hubs are never forgotten. */
struct rooms__hub {
    struct rooms__hub *next;
    bool is_up, is_listed; /* listed: while the list is read */
    struct rooms__outbox outbox;
    struct rooms__presence presence;
    char instance[96]; /* "" = it never told one */
    char address[256]; /* "" = nobody's: for what comes before any hub is known */
};
/* Reads from the bus which hubs there are, and moves rooms. */
void hubs__refresh(struct wr_rooms *rs);
/* Where the room is; never NULL. */
struct rooms__hub *hubs__home(struct wr_rooms *rs, struct wr_slice room);
/* An instance id that another hub than h has. */
bool hubs__is_others(const struct wr_rooms *rs, const struct rooms__hub *h,
                     struct wr_slice instance);
wr_err hubs__init(struct wr_rooms *rs);
void hubs__free(struct wr_rooms *rs);
/* A call to that hub, like rooms__call. Moves body. [rooms] */
void rooms__call_at(struct wr_rooms *rs, const struct rooms__hub *h, const char *method,
                    struct wr_msg *body, uint32_t ms, rooms__answer_fn fn, void *ctx);

/* ---- the whole ---- */
struct rooms__protocol {
    const struct wr_protocol_plugin *plugin;
    void *state;
    struct wr_rooms *rooms;
    uint32_t first_form; /* of its variants, which follow one another */
};
/* One encoded form of what a room sends: a variant of a protocol. */
struct rooms__form {
    const struct wr_protocol_plugin *plugin;
    uint32_t variant;
    bool is_binary;
};
/* An endpoint of a protocol: what its route is given. */
struct rooms__door {
    struct rooms__door *next;
    struct wr_listener *listener; /* of TCP, once it listens: the plane's */
    struct rooms__protocol *protocol;
    const struct wr_protocol_endpoint *endpoint;
};
struct wr_rooms {
    const struct wr_gateway_env *env;
    struct wr_gateway_env env_copy;
    struct rooms__protocol protocols[ROOMS__PROTOCOLS];
    uint32_t nprotocols;
    struct rooms__form forms[ROOMS__FORMS];
    uint32_t nforms;
    struct rooms__door *doors;
    uint8_t boot[8]; /* with a counter: idempotency keys */
    atomic_uint_fast64_t next_key;
    atomic_uint max_message; /* bytes of a message's data: the least that a hub told */
    atomic_uint outbox_items;
    atomic_size_t outbox_bytes;
    struct wr_bus_sub *events;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* guards jobs and their counts, ended */
    pthread_cond_t wake;
    struct rooms__job *jobs, **jobs_last;
    uint32_t nevents;
    size_t event_bytes;
    size_t npublishes; /* jobs that wait until there are wake_publishes of them ... */
    size_t wake_publishes;
    bool urgent; /* ... or another kind of job is there */
    bool ended;
    atomic_uint posting; /* threads inside post() */
    atomic_uint calls;   /* of ours that the bus still owes an answer */
    /* [rooms] */
    struct wr_map rooms;                    /* name -> struct rooms__room */
    struct rooms__hub *hubs;                /* the one without an address is the last */
    unsigned nup;                           /* hubs that live */
    uint64_t turn;                          /* grows with each change of which hubs live */
    struct rooms__reply *acks, **acks_last; /* wait for the publications that they are of ... */
    int64_t acks_us;                        /* ... until then */
    int64_t timer_ms;
    int64_t check_ms;  /* when the rooms' newest offsets are asked for */
    uint32_t checks;   /* such calls under way */
    size_t held_bytes; /* of all rooms */
    bool ending;       /* nothing new is asked of the hub; what is under way is waited for */
};

/* clients.c */
/* Adds a route for each of the protocol's endpoints. Errors with text. */
wr_err clients__routes(struct wr_rooms *rs, struct rooms__protocol *protocol,
                       struct wr_errmsg *err);
/* Who came to a door on TCP: fills *o, or false when he may not come in (or memory is out). [plane] */
bool clients__accept(const struct rooms__door *d, const struct wr_addr *peer,
                     struct wr_conn_opts *o);
/* Calls Hub/History; its answer is posted as p. Moves both; counts in rs->calls already. [plane] */
void clients__ask_history(struct wr_rooms *rs, struct wr_msg *body, struct rooms__reply *p);
/* [plane], wr_member_fn: a positioned member can no longer trust what it has; a member is asked about again. */
void clients__insufficient(struct wr_conn *c, const struct wr_msg *room);
void clients__ask_again(struct wr_conn *c, const struct wr_msg *room);
/* calls.c: the methods of `call`. */
struct rooms__method {
    const char *name;
    wr_err (*run)(struct wr_protocol_conn *cl, struct wr_slice args, uint64_t cookie);
};
const struct rooms__method *calls__find(struct wr_slice name);
/* clients.c, for methods: publishes, and answers as a call with what finish makes of the result. */
typedef void (*rooms__finish_fn)(struct rooms__reply *p);
wr_err clients__publish(struct wr_protocol_conn *cl, const struct wr_protocol_publish *req,
                        uint64_t cookie, rooms__finish_fn finish);

extern struct wr_gauge rooms__g_rooms, rooms__g_subs, rooms__g_outbox, rooms__g_held, rooms__g_hubs;
extern struct wr_counter rooms__m_events, rooms__m_events_unknown, rooms__m_events_dropped,
    rooms__m_pubs, rooms__m_fills, rooms__m_filled, rooms__m_lost, rooms__m_epochs,
    rooms__m_published, rooms__m_publish_failed, rooms__m_publish_retries, rooms__m_outbox_full,
    rooms__m_recovered, rooms__m_not_recovered, rooms__m_bad_bus, rooms__m_duplicates,
    rooms__m_moved, rooms__m_events_elsewhere;
extern struct wr_histogram rooms__h_publish;

#endif
