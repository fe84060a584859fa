app="$WXSUB_SERVER/v1/apps/$WXSUB_APPID" auth="Authorization: Bearer $WXSUB_KEY"
curl -sH "$auth" "$app/access_token"
curl -sH "$auth" "$app/access_token" | curl -sH "$auth" -d @- "$app/access_token/report"
curl -s "$WXSUB_SERVER/cgi-bin/token?grant_type=client_credential&appid=$WXSUB_APPID&secret=$WXSUB_KEY"
grant='"template_id":"sandbox-template-1","scene":1000'
message='{"touser":"oUser",'$grant',"title":"Parcel","data":{"content":{"value":"It is here."}}}'
curl -s -d '{"appid":"'$WXSUB_APPID'","openid":"oUser",'$grant',"action":"confirm"}' "$WXSUB_MP_BASE/_sandbox/consents"
curl -sH "$auth" -d "$message" "$app/messages"
curl -sH "$auth" -d "$message" "$app/messages"
curl -sH "$auth" "$WXSUB_SERVER/v1/apps"
curl -s "$WXSUB_SERVER/metrics"
