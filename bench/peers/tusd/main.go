// SPDX-License-Identifier: MIT

// Peer: tusd's handler on its file store, as its documentation shows it. With -sync the uploaded file's data is synced after the
// last byte and before the answer: what tusd would have to do to promise what Watchroom promises.
package main

import (
	"flag"
	"log"
	"net/http"
	"os"
	"syscall"

	"github.com/tus/tusd/v2/pkg/filelocker"
	"github.com/tus/tusd/v2/pkg/filestore"
	"github.com/tus/tusd/v2/pkg/handler"
	"golang.org/x/exp/slog"
)

func syncData(event handler.HookEvent) (handler.HTTPResponse, error) {
	file, err := os.OpenFile(event.Upload.Storage["Path"], os.O_WRONLY, 0)
	if err != nil {
		return handler.HTTPResponse{}, err
	}
	defer file.Close()
	return handler.HTTPResponse{}, syscall.Fdatasync(int(file.Fd()))
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8083", "address and port")
	dir := flag.String("dir", ".", "folder for the uploads")
	sync := flag.Bool("sync", false, "fdatasync the data before the answer")
	flag.Parse()
	composer := handler.NewStoreComposer()
	filestore.New(*dir).UseIn(composer)
	filelocker.New(*dir).UseIn(composer)
	config := handler.Config{BasePath: "/files/", StoreComposer: composer, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	if *sync {
		config.PreFinishResponseCallback = syncData
	}
	h, err := handler.NewHandler(config)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/files/", http.StripPrefix("/files/", h))
	log.Fatal(http.ListenAndServe(*listen, nil))
}
