// A shop that asks for a consent, queues a message, and learns how it ended, through `wxsub serve`.
// Java 17 or newer, standard library only. docs/curl.md says how to run it.

import static java.nio.charset.StandardCharsets.UTF_8;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.Base64;
import java.util.HexFormat;
import java.util.concurrent.Executors;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Shop {
    static final String APP = System.getenv("WXSUB_SERVER") + "/v1/apps/" + System.getenv("WXSUB_APPID");
    static final String KEY = System.getenv("WXSUB_KEY");
    static final String WEBHOOK_SECRET = System.getenv("WXSUB_WEBHOOK_SECRET");
    static final int PORT = Integer.parseInt(System.getenv().getOrDefault("PORT", "8000"));
    // One scene for each occasion of a message, here "the parcel leaves". Not one for each order.
    static final String CONSENT = "\"template_id\":\"sandbox-template-1\",\"scene\":1000";
    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    /** The control server, or the sender of a webhook, is refused. */
    static class Refused extends Exception {
        Refused(String why) {
            super(why);
        }
    }

    /** POSTs JSON to the control server. Throws the problem if the server refuses. */
    static String call(String path, String body, String... headers) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(APP + path))
            .timeout(Duration.ofSeconds(35))
            .header("Authorization", "Bearer " + KEY)
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body));
        for (int at = 0; at < headers.length; at += 2) {
            request.header(headers[at], headers[at + 1]);
        }
        HttpResponse<String> response = CLIENT.send(request.build(), HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() / 100 != 2) {
            throw new Refused(member(response.body(), "detail"));
        }
        return response.body();
    }

    /** The text of a member. The standard library has no JSON parser: use the one that your application has. */
    static String member(String json, String name) {
        var found = Pattern.compile("\"" + name + "\":\"([^\"\\\\]*)").matcher(json);
        return found.find() ? found.group(1) : "";
    }

    static void verify(String secret, String id, String timestamp, String signature, byte[] body) throws Exception {
        if (Math.abs(System.currentTimeMillis() / 1000 - Long.parseLong(timestamp)) > 300) {
            throw new SecurityException("too old, or from the future");
        }
        byte[] key = Base64.getDecoder().decode(secret.replaceFirst("^whsec_", ""));
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        mac.update((id + "." + timestamp + ".").getBytes(UTF_8));
        byte[] expected = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes(UTF_8);
        for (String one : signature.split(" ")) {
            if (MessageDigest.isEqual(expected, one.getBytes(UTF_8))) {
                return;
            }
        }
        throw new SecurityException("wrong signature");
    }

    /** Makes a session and sends the visitor to Weixin. */
    static void ask(HttpExchange exchange) throws Exception {
        byte[] random = new byte[8];
        new SecureRandom().nextBytes(random);
        String session = HexFormat.of().formatHex(random);
        String back = "http://127.0.0.1:" + PORT + "/back";
        String issued = call("/consents", "{" + CONSENT + ",\"session\":\"" + session + "\",\"redirect_url\":\"" + back + "\"}");
        exchange.getResponseHeaders().set("Location", member(issued, "url"));
        // `Lax` sends the cookie when Weixin redirects the visitor back. Add `Secure` where there is TLS.
        exchange.getResponseHeaders().set("Set-Cookie", "session=" + session + "; HttpOnly; SameSite=Lax; Path=/");
        exchange.sendResponseHeaders(302, -1);
    }

    /** Handles the callback: has the server verify and record it, and queues the message. */
    static String back(HttpExchange exchange) throws Exception {
        // A query that the server has verified has no character that JSON escapes. Others are refused here.
        String query = exchange.getRequestURI().getRawQuery();
        if (query == null || !query.matches("[A-Za-z0-9_.=&%-]*")) {
            throw new Refused("the callback is invalid");
        }
        String cookie = exchange.getRequestHeaders().getFirst("Cookie");
        var found = Pattern.compile("(?:^|; )session=([0-9a-f]+)").matcher(cookie == null ? "" : cookie);
        String session = found.find() ? found.group(1) : "";
        String consent = call("/grants", "{\"callback\":\"" + query + "\",\"session\":\"" + session + "\"}");
        if (member(consent, "outcome").equals("declined")) {
            return "No message, then.";
        }
        var openid = Pattern.compile("(?:^|&)openid=([A-Za-z0-9_-]+)").matcher(query);
        String message = "{" + CONSENT + ",\"touser\":\"" + (openid.find() ? openid.group(1) : "")
            + "\",\"title\":\"Parcel\",\"data\":{\"content\":{\"value\":\"It is on its way.\"}}}";
        // The same key again is the same message: a reload, or a repeat after a lost response, sends nothing twice.
        String queued = call("/outbox", message, "Idempotency-Key", "order-" + session);
        return "Thank you. Your message is " + member(queued, "id") + ".";
    }

    /** Handles a webhook: how a message ended. */
    static String hook(HttpExchange exchange) throws Exception {
        byte[] body = exchange.getRequestBody().readNBytes(65536);
        var headers = exchange.getRequestHeaders();
        String signature = headers.getFirst("webhook-signature");
        try {
            verify(WEBHOOK_SECRET, headers.getFirst("webhook-id"), headers.getFirst("webhook-timestamp"),
                signature == null ? "" : signature, body);
        } catch (SecurityException | NumberFormatException error) {
            throw new Refused(error.getMessage());
        }
        // A webhook can come twice. Store `id` with the largest `sequence`, and ignore smaller ones.
        String event = new String(body, UTF_8);
        System.out.println(member(event, "idempotency_key") + " " + member(event, "outcome"));
        return "stored";
    }

    static void handle(HttpExchange exchange) throws IOException {
        String request = exchange.getRequestMethod() + " " + exchange.getRequestURI().getPath();
        try {
            switch (request) {
                case "GET /" -> ask(exchange);
                case "GET /back" -> answer(exchange, 200, back(exchange));
                case "POST /hooks" -> answer(exchange, 200, hook(exchange));
                default -> answer(exchange, 404, "no such page");
            }
        } catch (Refused refused) {
            answer(exchange, 400, refused.getMessage());
        } catch (Exception failed) {
            answer(exchange, 500, String.valueOf(failed.getMessage()));
        } finally {
            exchange.close();
        }
    }

    static void answer(HttpExchange exchange, int status, String text) throws IOException {
        byte[] bytes = text.getBytes(UTF_8);
        exchange.sendResponseHeaders(status, bytes.length);
        exchange.getResponseBody().write(bytes);
    }

    public static void main(String[] arguments) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", PORT), 0);
        server.createContext("/", Shop::handle);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
        System.out.println("http://127.0.0.1:" + PORT);
    }
}
