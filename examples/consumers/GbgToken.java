// GBG's token in a Spring application, from a connection with lease=true. Spring Cloud
// Vault configures the SecretLeaseContainer. Not compiled or run here.

import org.springframework.stereotype.Component;
import org.springframework.vault.core.lease.SecretLeaseContainer;
import org.springframework.vault.core.lease.domain.RequestedSecret;
import org.springframework.vault.core.lease.event.SecretLeaseCreatedEvent;

@Component
class GbgToken {
    private volatile String token;

    GbgToken(SecretLeaseContainer container) {
        RequestedSecret secret = RequestedSecret.rotating("gbg/creds/payments");
        // The event also comes for each new token: SecretLeaseRotatedEvent extends it.
        container.addLeaseListener(event -> {
            if (event.getSource() == secret && event instanceof SecretLeaseCreatedEvent created) {
                token = (String) created.getSecrets().get("access_token");
            }
        });
        container.addRequestedSecret(secret);
    }

    /** Returns the current token. Call it for each request to GBG. */
    String get() {
        if (token == null) {
            throw new IllegalStateException("no GBG token yet");
        }
        return token;
    }
}
