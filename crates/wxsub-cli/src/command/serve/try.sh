app="$WXSUB_SERVER/v1/apps/$WXSUB_APPID" auth="Authorization: Bearer $WXSUB_KEY"
consent='"template_id":"sandbox-template-1","scene":1000'
ask='{'$consent',"session":"visitor-1","redirect_url":"https://shop.example/back"}'
url=$(curl -sH "$auth" -d "$ask" "$app/consents" | sed 's/.*"url":"\([^"]*\).*/\1/')
callback=$(curl -s -d 'openid=oUser&action=confirm' -o /dev/null -w '%{redirect_url}' "$url")
curl -sH "$auth" -d '{"callback":"'"$callback"'","session":"visitor-1"}' "$app/grants"
message='{"touser":"oUser",'$consent',"title":"Parcel","data":{"content":{"value":"It is here."}}}'
curl -sH "$auth" -H 'Idempotency-Key: order-4711' -d "$message" "$app/outbox"
until curl -sH "$auth" "$app/outbox?openid=oUser" | grep '"state":"sent"'; do :; done
curl -sH "$auth" -d "$message" "$app/messages"
curl -sH "$auth" "$app/access_token"
curl -sH "$auth" "$app/access_token" | curl -sH "$auth" -d @- "$app/access_token/report"
curl -s "$WXSUB_SERVER/cgi-bin/token?grant_type=client_credential&appid=$WXSUB_APPID&secret=$WXSUB_KEY"
curl -sH "$auth" "$WXSUB_SERVER/v1/apps"
curl -s "$WXSUB_SERVER/metrics"
