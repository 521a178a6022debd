// SPDX-License-Identifier: MIT
/*
 * A camera for the tests: an RTSP server with one stream, a moving picture and a tone, in the
 * codecs that real cameras send. It is live: time passes whether or not somebody reads, and all
 * readers share one encoder. It can also misbehave on request (die, fall silent, change its
 * picture's size), since what a server does with a bad camera is most of what there is to test.
 *
 * It tells on standard output, a line each, what a test has to wait for:
 *
 *     url rtsp://127.0.0.1:40123/cam      it listens (the first line, always)
 *     reader 1                            a client connected; the number is how many there are now
 *     playing                             pictures go out
 *     silent | resized | dying            what was asked for by an option has happened
 */
#include <gst/gst.h>
#include <gst/rtsp-server/rtsp-server.h>

#include <glib-unix.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct camera {
    /* options */
    gchar *address;
    gint port; /* 0: any free one */
    gchar *path;
    gchar *codec;     /* h264 or h265 */
    gchar *audio;     /* aac, pcma, opus or none */
    gchar *transport; /* both, tcp or udp */
    gchar *user;
    gchar *pass;
    gint width, height, fps;
    gint gop; /* frames from keyframe to keyframe */
    gint kbps;
    gdouble die_after_s, silent_after_s,
        resize_after_s; /* counted from the first "playing"; 0: never */

    GMainLoop *loop;
    GstElement *pipeline; /* borrowed from the media, for `resize` */
    int readers;
    bool played;
    atomic_bool silent; /* read by the streaming threads */
};

static void tell(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Tests read the lines as they come, so none may wait in a buffer. */
static void tell(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

/* ---- what it shows ---- */

static gchar *video_caps(int width, int height, int fps)
{
    return g_strdup_printf("video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1", width,
                           height, fps);
}

static gchar *video_branch(const struct camera *cam)
{
    gchar *caps = video_caps(cam->width, cam->height, cam->fps);
    gchar *branch;
    bool h265 = strcmp(cam->codec, "h265") == 0;

    /* The parameter sets ride before every keyframe, as real cameras send them: a size that changes in
     * mid-stream could not be told otherwise. */
    branch = g_strdup_printf(
        "videotestsrc is-live=true pattern=ball ! capsfilter name=size caps=\"%s\" "
        "! %s key-int-max=%d bitrate=%d ! %s name=pay0 pt=96 config-interval=-1 ",
        caps,
        h265 ? "x265enc tune=zerolatency speed-preset=ultrafast"
             : "x264enc tune=zerolatency speed-preset=ultrafast",
        cam->gop, cam->kbps, h265 ? "rtph265pay" : "rtph264pay");
    g_free(caps);
    return branch;
}

static const char *audio_branch(const struct camera *cam)
{
    if (strcmp(cam->audio, "aac") == 0) {
        return "audiotestsrc is-live=true wave=sine freq=440 volume=0.2 "
               "! audio/x-raw,rate=48000,channels=2 ! audioconvert ! avenc_aac ! aacparse "
               "! rtpmp4gpay name=pay1 pt=97";
    }
    if (strcmp(cam->audio, "pcma") == 0) {
        return "audiotestsrc is-live=true wave=sine freq=440 volume=0.2 "
               "! audio/x-raw,rate=8000,channels=1 ! audioconvert ! alawenc "
               "! rtppcmapay name=pay1 pt=8";
    }
    if (strcmp(cam->audio, "opus") == 0) {
        return "audiotestsrc is-live=true wave=sine freq=440 volume=0.2 "
               "! audio/x-raw,rate=48000,channels=2 ! audioconvert ! opusenc "
               "! rtpopuspay name=pay1 pt=97";
    }
    return "";
}

/* gst-rtsp-server answers a missing element with a bare 503 to the client; say it here instead. */
static bool has_elements(const struct camera *cam)
{
    static const struct {
        const char *element, *package, *only_for;
    } needed[] = {
        {"videotestsrc", "gstreamer1.0-plugins-base", NULL},
        {"rtph264pay", "gstreamer1.0-plugins-good", NULL},
        {"x264enc", "gstreamer1.0-plugins-ugly", "h264"},
        {"x265enc", "gstreamer1.0-plugins-bad", "h265"},
        {"aacparse", "gstreamer1.0-plugins-good", "aac"},
        {"avenc_aac", "gstreamer1.0-libav", "aac"},
        {"alawenc", "gstreamer1.0-plugins-good", "pcma"},
        {"opusenc", "gstreamer1.0-plugins-base", "opus"},
        {"rtpopuspay", "gstreamer1.0-plugins-good", "opus"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(needed); i++) {
        GstElementFactory *factory;

        if (needed[i].only_for && strcmp(needed[i].only_for, cam->codec) != 0 &&
            strcmp(needed[i].only_for, cam->audio) != 0)
            continue;
        factory = gst_element_factory_find(needed[i].element);
        if (!factory) {
            fprintf(stderr, "camera: there is no GStreamer element '%s': install %s\n",
                    needed[i].element, needed[i].package);
            return false;
        }
        gst_object_unref(factory);
    }
    return true;
}

/* ---- how it misbehaves ---- */

static gboolean handle_die(gpointer data)
{
    (void)data;
    tell("dying");
    _exit(0); /* as when the power goes: no TEARDOWN, no RTCP BYE */
}

static gboolean handle_silent(gpointer data)
{
    struct camera *cam = data;

    atomic_store(&cam->silent, true);
    tell("silent");
    return G_SOURCE_REMOVE;
}

static gboolean handle_resize(gpointer data)
{
    struct camera *cam = data;
    GstElement *filter = cam->pipeline ? gst_bin_get_by_name(GST_BIN(cam->pipeline), "size") : NULL;
    gchar *text;
    GstCaps *caps;

    if (!filter)
        return G_SOURCE_REMOVE;
    text = video_caps(cam->width / 2, cam->height / 2, cam->fps);
    caps = gst_caps_from_string(text);
    g_object_set(filter, "caps", caps, NULL);
    gst_caps_unref(caps);
    g_free(text);
    gst_object_unref(filter);
    tell("resized");
    return G_SOURCE_REMOVE;
}

static GstPadProbeReturn handle_packet(GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
    struct camera *cam = data;

    (void)pad;
    (void)info;
    return atomic_load(&cam->silent) ? GST_PAD_PROBE_DROP : GST_PAD_PROBE_OK;
}

static void watch_packets(struct camera *cam, const char *payloader)
{
    GstElement *element = gst_bin_get_by_name(GST_BIN(cam->pipeline), payloader);
    GstPad *pad;

    if (!element)
        return; /* no sound */
    pad = gst_element_get_static_pad(element, "src");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST,
                      handle_packet, cam, NULL);
    gst_object_unref(pad);
    gst_object_unref(element);
}

static void after(gdouble seconds, GSourceFunc act, struct camera *cam)
{
    if (seconds > 0)
        g_timeout_add((guint)(seconds * 1000), act, cam);
}

/* ---- what the RTSP server tells ---- */

static void handle_unprepared(GstRTSPMedia *media, struct camera *cam)
{
    (void)media;
    cam->pipeline = NULL;
}

static void handle_media(GstRTSPMediaFactory *factory, GstRTSPMedia *media, struct camera *cam)
{
    (void)factory;
    cam->pipeline = gst_rtsp_media_get_element(media);
    gst_object_unref(cam->pipeline); /* the media keeps it until `unprepared` */
    watch_packets(cam, "pay0");
    watch_packets(cam, "pay1");
    g_signal_connect(media, "unprepared", G_CALLBACK(handle_unprepared), cam);
}

static void handle_play(GstRTSPClient *client, GstRTSPContext *context, struct camera *cam)
{
    (void)client;
    (void)context;
    tell("playing");
    if (cam->played)
        return;
    cam->played = true;
    after(cam->die_after_s, handle_die, cam);
    after(cam->silent_after_s, handle_silent, cam);
    after(cam->resize_after_s, handle_resize, cam);
}

static void handle_closed(GstRTSPClient *client, struct camera *cam)
{
    (void)client;
    tell("reader %d", --cam->readers);
}

static void handle_client(GstRTSPServer *server, GstRTSPClient *client, struct camera *cam)
{
    (void)server;
    tell("reader %d", ++cam->readers);
    g_signal_connect(client, "closed", G_CALLBACK(handle_closed), cam);
    g_signal_connect(client, "play-request", G_CALLBACK(handle_play), cam);
}

/* ---- start ---- */

static void require_password(const struct camera *cam, GstRTSPServer *server,
                             GstRTSPMediaFactory *factory)
{
    GstRTSPAuth *auth = gst_rtsp_auth_new();
    GstRTSPToken *token = gst_rtsp_token_new(GST_RTSP_TOKEN_MEDIA_FACTORY_ROLE, G_TYPE_STRING,
                                             "viewer", NULL);
    gchar *basic = gst_rtsp_auth_make_basic(cam->user, cam->pass ? cam->pass : "");

    gst_rtsp_auth_add_basic(auth, basic, token);
    gst_rtsp_server_set_auth(server, auth);
    gst_rtsp_media_factory_add_role(factory, "viewer", GST_RTSP_PERM_MEDIA_FACTORY_ACCESS,
                                    G_TYPE_BOOLEAN, TRUE, GST_RTSP_PERM_MEDIA_FACTORY_CONSTRUCT,
                                    G_TYPE_BOOLEAN, TRUE, NULL);
    g_free(basic);
    gst_rtsp_token_unref(token);
    g_object_unref(auth);
}

static GstRTSPMediaFactory *make_factory(struct camera *cam)
{
    GstRTSPMediaFactory *factory = gst_rtsp_media_factory_new();
    gchar *video = video_branch(cam);
    gchar *launch = g_strdup_printf("( %s %s )", video, audio_branch(cam));
    GstRTSPLowerTrans protocols = GST_RTSP_LOWER_TRANS_UDP | GST_RTSP_LOWER_TRANS_TCP;

    if (strcmp(cam->transport, "tcp") == 0)
        protocols = GST_RTSP_LOWER_TRANS_TCP;
    else if (strcmp(cam->transport, "udp") == 0)
        protocols = GST_RTSP_LOWER_TRANS_UDP;
    gst_rtsp_media_factory_set_launch(factory, launch);
    gst_rtsp_media_factory_set_shared(factory, TRUE);
    gst_rtsp_media_factory_set_protocols(factory, protocols);
    gst_rtsp_media_factory_set_latency(factory, 0);
    g_signal_connect(factory, "media-configure", G_CALLBACK(handle_media), cam);
    g_free(launch);
    g_free(video);
    return factory;
}

static bool is_one_of(const char *option, const char *value, const char *const *choices)
{
    gchar *list;

    if (g_strv_contains(choices, value))
        return true;
    list = g_strjoinv(", ", (gchar **)(guintptr)choices);
    fprintf(stderr, "camera: --%s is '%s': give one of %s\n", option, value, list);
    g_free(list);
    return false;
}

static bool read_options(struct camera *cam, int *argc, char ***argv)
{
    const GOptionEntry entries[] = {
        {"address", 0, 0, G_OPTION_ARG_STRING, &cam->address, "where to listen (127.0.0.1)",
         "ADDR"},
        {"port", 0, 0, G_OPTION_ARG_INT, &cam->port, "port; 0 takes a free one (0)", "PORT"},
        {"path", 0, 0, G_OPTION_ARG_STRING, &cam->path, "path of the stream (/cam)", "PATH"},
        {"codec", 0, 0, G_OPTION_ARG_STRING, &cam->codec, "h264 or h265 (h264)", "CODEC"},
        {"audio", 0, 0, G_OPTION_ARG_STRING, &cam->audio, "aac, pcma, opus or none (aac)", "CODEC"},
        {"transport", 0, 0, G_OPTION_ARG_STRING, &cam->transport, "both, tcp or udp (both)", "T"},
        {"user", 0, 0, G_OPTION_ARG_STRING, &cam->user, "ask for this name", "NAME"},
        {"pass", 0, 0, G_OPTION_ARG_STRING, &cam->pass, "and this password", "WORD"},
        {"width", 0, 0, G_OPTION_ARG_INT, &cam->width, "picture's width (640)", "PIXELS"},
        {"height", 0, 0, G_OPTION_ARG_INT, &cam->height, "picture's height (360)", "PIXELS"},
        {"fps", 0, 0, G_OPTION_ARG_INT, &cam->fps, "pictures a second (25)", "N"},
        {"gop", 0, 0, G_OPTION_ARG_INT, &cam->gop, "pictures to the next keyframe (50)", "N"},
        {"kbps", 0, 0, G_OPTION_ARG_INT, &cam->kbps, "video bit rate (1000)", "KBPS"},
        {"die-after", 0, 0, G_OPTION_ARG_DOUBLE, &cam->die_after_s,
         "die, without a goodbye, so long after the first picture", "SECONDS"},
        {"silent-after", 0, 0, G_OPTION_ARG_DOUBLE, &cam->silent_after_s,
         "keep the connection but send nothing more", "SECONDS"},
        {"resize-after", 0, 0, G_OPTION_ARG_DOUBLE, &cam->resize_after_s,
         "halve the picture's width and height", "SECONDS"},
        G_OPTION_ENTRY_NULL,
    };
    static const char *const codecs[] = {"h264", "h265", NULL};
    static const char *const audios[] = {"aac", "pcma", "opus", "none", NULL};
    static const char *const transports[] = {"both", "tcp", "udp", NULL};
    GOptionContext *options = g_option_context_new("- an RTSP camera for tests");
    GError *error = NULL;
    bool ok;

    g_option_context_add_main_entries(options, entries, NULL);
    g_option_context_add_group(options, gst_init_get_option_group());
    ok = g_option_context_parse(options, argc, argv, &error);
    g_option_context_free(options);
    if (!ok) {
        fprintf(stderr, "camera: %s\n", error->message);
        g_error_free(error);
        return false;
    }
    if (cam->port < 0 || cam->port > 65535) {
        fprintf(stderr, "camera: --port is %d: give 0 to 65535\n", cam->port);
        return false;
    }
    if (cam->fps < 1 || cam->gop < 1 || cam->kbps < 1 || cam->width < 32 || cam->height < 32) {
        fprintf(stderr,
                "camera: --fps, --gop and --kbps are 1 or more, --width and --height 32 or more\n");
        return false;
    }
    return is_one_of("codec", cam->codec, codecs) && is_one_of("audio", cam->audio, audios) &&
           is_one_of("transport", cam->transport, transports);
}

static gboolean handle_stop(gpointer data)
{
    struct camera *cam = data;

    g_main_loop_quit(cam->loop);
    return G_SOURCE_CONTINUE;
}

static int serve(struct camera *cam)
{
    GstRTSPServer *server = gst_rtsp_server_new();
    GstRTSPMountPoints *mounts = gst_rtsp_server_get_mount_points(server);
    GstRTSPMediaFactory *factory = make_factory(cam);
    gchar *service = g_strdup_printf("%d", cam->port);
    int status = EXIT_FAILURE;

    if (cam->user)
        require_password(cam, server, factory);
    gst_rtsp_mount_points_add_factory(mounts, cam->path, factory);
    gst_rtsp_server_set_address(server, cam->address);
    gst_rtsp_server_set_service(server, service);
    g_signal_connect(server, "client-connected", G_CALLBACK(handle_client), cam);
    if (gst_rtsp_server_attach(server, NULL) == 0) {
        fprintf(stderr, "camera: cannot listen on %s:%d: is the port in use?\n", cam->address,
                cam->port);
        goto out;
    }
    cam->loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGINT, handle_stop, cam);
    g_unix_signal_add(SIGTERM, handle_stop, cam);
    tell("url rtsp://%s:%d%s", cam->address, gst_rtsp_server_get_bound_port(server), cam->path);
    g_main_loop_run(cam->loop);
    g_main_loop_unref(cam->loop);
    status = EXIT_SUCCESS;
out:
    g_free(service);
    g_object_unref(mounts);
    g_object_unref(server);
    return status;
}

int main(int argc, char **argv)
{
    struct camera cam = {
        .address = g_strdup("127.0.0.1"),
        .path = g_strdup("/cam"),
        .codec = g_strdup("h264"),
        .audio = g_strdup("aac"),
        .transport = g_strdup("both"),
        .width = 640,
        .height = 360,
        .fps = 25,
        .gop = 50,
        .kbps = 1000,
    };
    int status = 2;

    signal(SIGPIPE, SIG_IGN);
    if (read_options(&cam, &argc, &argv) && has_elements(&cam))
        status = serve(&cam);
    g_free(cam.address);
    g_free(cam.path);
    g_free(cam.codec);
    g_free(cam.audio);
    g_free(cam.transport);
    g_free(cam.user);
    g_free(cam.pass);
    return status;
}
