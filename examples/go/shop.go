// A shop that asks for a consent, queues a message, and learns how it ended, through `wxsub serve`.
// Go 1.19 or newer, standard library only. docs/curl.md says how to run it.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// One scene for each occasion of a message, here "the parcel leaves". Not one for each order.
const (
	template = "sandbox-template-1"
	scene    = 1000
)

var (
	app    = os.Getenv("WXSUB_SERVER") + "/v1/apps/" + os.Getenv("WXSUB_APPID")
	client = &http.Client{Timeout: 35 * time.Second}
	port   = "8000"
)

// call POSTs JSON to the control server. The error is the problem if the server refuses.
func call(path string, body map[string]any, idempotencyKey string) (map[string]any, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest("POST", app+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("WXSUB_KEY"))
	request.Header.Set("Content-Type", "application/json")
	if idempotencyKey != "" {
		request.Header.Set("Idempotency-Key", idempotencyKey)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%v", answer["detail"])
	}
	return answer, nil
}

func verify(secret, id, timestamp, signature string, body []byte) error {
	sent, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return errors.New("too old, or from the future")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, one := range strings.Fields(signature) {
		if hmac.Equal([]byte(expected), []byte(one)) {
			return nil
		}
	}
	return errors.New("wrong signature")
}

// ask makes a session and sends the visitor to Weixin.
func ask(w http.ResponseWriter, r *http.Request) error {
	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	session := hex.EncodeToString(random)
	issued, err := call("/consents", map[string]any{
		"template_id": template, "scene": scene, "session": session,
		"redirect_url": "http://127.0.0.1:" + port + "/back",
	}, "")
	if err != nil {
		return err
	}
	// `Lax` sends the cookie when Weixin redirects the visitor back. Add `Secure` where there is TLS.
	http.SetCookie(w, &http.Cookie{Name: "session", Value: session, HttpOnly: true, SameSite: http.SameSiteLaxMode, Path: "/"})
	http.Redirect(w, r, issued["url"].(string), http.StatusFound)
	return nil
}

// back handles the callback: it has the server verify and record it, and queues the message.
func back(w http.ResponseWriter, r *http.Request) error {
	session := ""
	if cookie, err := r.Cookie("session"); err == nil {
		session = cookie.Value
	}
	consent, err := call("/grants", map[string]any{"callback": r.URL.RawQuery, "session": session}, "")
	if err != nil {
		return err
	}
	if consent["outcome"] == "declined" {
		fmt.Fprint(w, "No message, then.")
		return nil
	}
	message := map[string]any{
		"touser": r.URL.Query().Get("openid"), "template_id": template, "scene": scene, "title": "Parcel",
		"data": map[string]any{"content": map[string]any{"value": "It is on its way."}},
	}
	// The same key again is the same message: a reload, or a repeat after a lost response, sends nothing twice.
	queued, err := call("/outbox", message, "order-"+session)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "Thank you. Your message is %v.", queued["id"])
	return nil
}

// hook handles a webhook: how a message ended.
func hook(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 65536))
	if err != nil {
		return err
	}
	header := r.Header.Get
	err = verify(os.Getenv("WXSUB_WEBHOOK_SECRET"), header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"), body)
	if err != nil {
		return err
	}
	var event struct {
		Data struct {
			Key     string `json:"idempotency_key"`
			Outcome string `json:"outcome"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return err
	}
	// A webhook can come twice. Store `id` with the largest `sequence`, and ignore smaller ones.
	fmt.Println(event.Data.Key, event.Data.Outcome)
	fmt.Fprint(w, "stored")
	return nil
}

func main() {
	if given := os.Getenv("PORT"); given != "" {
		port = given
	}
	pages := map[string]func(http.ResponseWriter, *http.Request) error{"GET /": ask, "GET /back": back, "POST /hooks": hook}
	handler := func(w http.ResponseWriter, r *http.Request) {
		page, found := pages[r.Method+" "+r.URL.Path]
		if !found {
			http.NotFound(w, r)
		} else if err := page(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("http://127.0.0.1:" + port)
	log.Fatal((&http.Server{Handler: http.HandlerFunc(handler), ReadTimeout: 30 * time.Second}).Serve(listener))
}
